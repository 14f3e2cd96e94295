/** The answer to the mesh question in words, and the rules that nearly allowed. */
import { formatCidr } from '../../lib/ip.ts';
import { policyText, type RuleRef, ruleText } from '../decision.ts';
import type { ResolvedFlow } from '../scene.ts';
import { askedFacts } from './decide.ts';
import type { Facts } from './facts.ts';
import { matchesCondition } from './match.ts';
import { type Mesh, rulesOf } from './mesh.ts';
import {
  type Condition,
  conditionsOf,
  isOfHttp,
  type MeshRule,
  type PathPattern,
  type RequestPrincipal,
  type TextPattern,
} from './model.ts';
import type { MeshSide } from './side.ts';

export interface MeshNearMiss {
  readonly rule: RuleRef;
  /** `method`, `source-ip`, `header x-name` */
  readonly missed: string;
  /** What the rule has there: `GET, HEAD`, `not 10.0.0.0/8` */
  readonly expected: string;
}

/** Of a default deny: rules that allow, and match but for one attribute; in deciding order. */
export function meshNearMisses(mesh: Mesh, flow: ResolvedFlow, side: MeshSide): MeshNearMiss[] {
  if (side.reason !== 'default-deny' || flow.dst.type !== 'pod') return [];
  const { enforced } = mesh.at(flow.dst.pod);
  const facts = askedFacts(mesh, enforced, flow);
  return rulesOf(enforced.allow).flatMap(({ rule }) => {
    const missed = missedBy(rule, facts);
    return missed ? [{ rule: rule.ref, missed: attributeText(missed), expected: conditionText(missed) }] : [];
  });
}

/** The only condition that does not hold, of the source and operation that come nearest. */
function missedBy(rule: MeshRule, facts: Facts): Condition | undefined {
  // A rule that asks for HTTP is out as a whole where there is none.
  if (facts.request === 'bytes' && conditionsOf(rule).some(isOfHttp)) return undefined;
  const missing = (list: readonly Condition[]) =>
    list.filter((each) => matchesCondition(each, facts) === 'no');
  const nearest = (lists: MeshRule['sources']): Condition[] =>
    lists === null ? [] : lists.map(missing).reduce((a, b) => (b.length < a.length ? b : a));
  const all = [...nearest(rule.sources), ...nearest(rule.operations), ...missing(rule.conditions)];
  return all.length === 1 ? all[0] : undefined;
}

/** Of an explanation, the head of the lines first. */
export function meshLines(side: MeshSide, near: readonly MeshNearMiss[], where: string): string[] {
  return [
    `  mesh at ${where}: ${reasonText(side)}`,
    ...near.map(
      ({ rule, missed, expected }) =>
        `    near: ${ruleText(rule)} matches but for the ${missed}: it has ${expected}`,
    ),
    ...(side.asks ?? []).map(
      ({ provider, rule }) =>
        `    asks ${provider}, by ${ruleText(rule)}; taken to allow unless it is told otherwise`,
    ),
    ...(side.logged ?? []).map((rule) => `    logged by ${ruleText(rule)}`),
    ...(side.audit.ruleNumber === side.ruleNumber ? [] : [`    audit: ${auditText(side)}`]),
  ];
}

function reasonText({ reason, verdict, rule, redirect, closedBy = [], tls }: MeshSide): string {
  const later = redirect ? '; some of its requests may yet be denied, ask with a request' : '';
  const name = rule ? ruleText(rule) : 'a rule';
  switch (reason) {
    case 'not-in-mesh':
      return 'allowed, it has no proxy';
    case 'not-tcp':
      return 'allowed, proxies take TCP alone';
    case 'self':
      return 'allowed, a pod always reaches itself';
    case 'own-node':
      return 'allowed, its own node always reaches it';
    case 'no-policy':
      return `allowed, no policy for requests is for it${later}`;
    case 'no-rule':
      return `allowed, no rule denies this and none that allows is for it${later}`;
    case 'tls':
      return `denied by ${name}: ${tls?.mode ?? 'STRICT'} needs mutual TLS, and this comes without`;
    case 'custom':
      return `denied by ${name}: its authorizer says no, or is one of several`;
    case 'rule':
      return `${verdict === 'allow' ? 'allowed' : 'denied'} by ${name}${later}`;
    default: {
      const list = closedBy.map(policyText).join(', ');
      return `denied by default: ${list} ${closedBy.length === 1 ? 'selects' : 'select'} it, and no rule allows this`;
    }
  }
}

function auditText({ audit }: MeshSide): string {
  const would = `would be ${audit.verdict === 'allow' ? 'allowed' : 'denied'}`;
  if (audit.rule) return `${would} by ${ruleText(audit.rule)}`;
  return audit.verdict === 'allow' ? `${would}, no rule would decide it` : `${would} by default`;
}

function attributeText(condition: Condition): string {
  if (condition.attribute === 'header') return `header ${condition.name}`;
  return condition.attribute === 'claim' ? `claim ${condition.names.join('.')}` : condition.attribute;
}

function conditionText(condition: Condition): string {
  const [values, notValues] = valuesOf(condition);
  return [...values, ...notValues.map((text) => `not ${text}`)].join(', ');
}

function valuesOf(condition: Condition): [values: string[], notValues: string[]] {
  switch (condition.attribute) {
    case 'source-ip':
    case 'remote-ip':
    case 'destination-ip':
      return [condition.values.map(formatCidr), condition.notValues.map(formatCidr)];
    case 'destination-port':
      return [condition.values.map(String), condition.notValues.map(String)];
    case 'account': {
      const text = ({ namespace, name }: { namespace: string; name: string }) => `${namespace}/${name}`;
      return [condition.values.map(text), condition.notValues.map(text)];
    }
    case 'request-principal':
      return [condition.values.map(principalText), condition.notValues.map(principalText)];
    default:
      return [condition.values.map(patternText), condition.notValues.map(patternText)];
  }
}

const principalText = ({ issuer, subject }: RequestPrincipal): string =>
  `${patternText(issuer)}/${patternText(subject)}`;

export function patternText(pattern: TextPattern | PathPattern): string {
  switch (pattern.how) {
    case 'exact':
      return pattern.value;
    case 'prefix':
      return `${pattern.value}*`;
    case 'suffix':
      return `*${pattern.value}`;
    case 'template':
      return pattern.parts
        .map((part) => ('text' in part ? part.text : part.any === 'one' ? '{*}' : '{**}'))
        .join('');
    default:
      return '*';
  }
}
