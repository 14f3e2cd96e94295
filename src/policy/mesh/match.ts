/** Whether a rule matches, as far as it can be told: what is not known yet may be anything. */
import { type Cidr, contains } from '../../lib/ip.ts';
import { claimTexts, type Facts, type HttpFacts } from './facts.ts';
import {
  type Condition,
  conditionsOf,
  isOfHttp,
  type MeshAction,
  type MeshRule,
  type RequestPrincipal,
} from './model.ts';
import { matchesPath, matchesText } from './patterns.ts';

export type Answer = 'yes' | 'no' | 'maybe';

/**
 * What only HTTP has is not on other connections: a rule that allows and asks for it is out, of any other rule the part
 * that asks for it is (Istio's "Authorization policy with TCP traffic").
 */
export function matchesRule(rule: MeshRule, action: MeshAction, facts: Facts): Answer {
  const isForHttp =
    action === 'ALLOW' && typeof facts.request === 'string' && conditionsOf(rule).some(isOfHttp);
  if (isForHttp && facts.request === 'bytes') return 'no';
  const all = (conditions: readonly Condition[]) => and(conditions, (each) => matchesCondition(each, facts));
  const some = (list: readonly (readonly Condition[])[] | null) => (list === null ? 'yes' : or(list, all));
  const parts = [() => all(rule.conditions), () => some(rule.operations), () => some(rule.sources)];
  const answer = and(parts, (ask) => ask());
  // Whatever it carries, if that is HTTP.
  return isForHttp && answer === 'yes' ? 'maybe' : answer;
}

function and<T>(items: readonly T[], ask: (item: T) => Answer): Answer {
  let answer: Answer = 'yes';
  for (const item of items) {
    const each = ask(item);
    if (each === 'no') return 'no';
    if (each === 'maybe') answer = 'maybe';
  }
  return answer;
}

function or<T>(items: readonly T[], ask: (item: T) => Answer): Answer {
  let answer: Answer = 'no';
  for (const item of items) {
    const each = ask(item);
    if (each === 'yes') return 'yes';
    if (each === 'maybe') answer = 'maybe';
  }
  return answer;
}

export function matchesCondition(condition: Condition, facts: Facts): Answer {
  const { request } = facts;
  if (isOfHttp(condition)) {
    if (request === 'bytes') return 'yes';
    return request === 'unknown' ? 'maybe' : told(matchesHttp(condition, request));
  }
  if (condition.attribute === 'sni' && facts.sni === null) return 'maybe';
  if (condition.attribute === 'remote-ip' && facts.remote === null) return 'maybe';
  return told(matchesConnection(condition, facts));
}

const told = (matches: boolean): Answer => (matches ? 'yes' : 'no');

const holds = <V>(
  { values, notValues }: { readonly values: readonly V[]; readonly notValues: readonly V[] },
  matches: (value: V) => boolean,
): boolean => (values.length === 0 || values.some(matches)) && !notValues.some(matches);

function matchesConnection(condition: Condition, facts: Facts): boolean {
  switch (condition.attribute) {
    case 'principal':
      return holds(condition, (p) => facts.principal !== undefined && matchesText(p, facts.principal));
    case 'namespace':
      return holds(condition, (p) => facts.account !== undefined && matchesText(p, facts.account.namespace));
    case 'account':
      return holds(
        condition,
        ({ namespace, name }) => facts.account?.namespace === namespace && facts.account.name === name,
      );
    case 'sni':
      return holds(condition, (p) => typeof facts.sni === 'string' && matchesText(p, facts.sni));
    case 'source-ip':
      return holds(condition, isWithin(facts.source));
    case 'remote-ip':
      return holds(condition, isWithin(facts.remote ?? undefined));
    case 'destination-ip':
      return holds(condition, isWithin(facts.destination));
    case 'destination-port':
      return holds(condition, (port) => port === facts.port);
    default:
      return false;
  }
}

const isWithin =
  (address: Facts['source']) =>
  (range: Cidr): boolean =>
    address !== undefined && contains(range, address);

function matchesHttp(condition: Condition, http: HttpFacts): boolean {
  switch (condition.attribute) {
    case 'method':
      return holds(condition, (p) => matchesText(p, http.method));
    case 'path':
      return holds(condition, (p) => matchesPath(p, http.path));
    case 'host': {
      const host = http.host?.toLowerCase();
      return holds(condition, (p) => host !== undefined && matchesText(p, host));
    }
    case 'header': {
      const value = http.header(condition.name);
      return holds(condition, (p) => value !== undefined && (p.how === 'present' || matchesText(p, value)));
    }
    case 'claim': {
      const texts = claimTexts(http.claims, condition.names);
      return holds(condition, (p) => texts.some((text) => matchesText(p, text)));
    }
    case 'request-principal':
      return holds(condition, (p) => matchesRequestPrincipal(p, http));
    default:
      return false;
  }
}

function matchesRequestPrincipal({ issuer, subject }: RequestPrincipal, { claims }: HttpFacts): boolean {
  const one = (name: string) => {
    const value = claims && Object.hasOwn(claims, name) ? claims[name] : undefined;
    return typeof value === 'string' ? value : undefined;
  };
  const [iss, sub] = [one('iss'), one('sub')];
  return iss !== undefined && sub !== undefined && matchesText(issuer, iss) && matchesText(subject, sub);
}
