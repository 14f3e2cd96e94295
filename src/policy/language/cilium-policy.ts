/**
 * Lowers CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy (cilium.io/v2) to the model: `spec` and each of `specs`
 * is a policy, all of the default tier, in which what is denied comes before what is allowed. What cannot be read fails
 * closed: a rule that allows allows nothing, one that denies denies everything.
 */
import { AUTHENTICATION_MODES, REFUSED_PORT_PARTS, type Section, SECTIONS } from '../../api/cilium-words.ts';
import type {
  CiliumClusterwideNetworkPolicy,
  CiliumEgressRule,
  CiliumIngressRule,
  CiliumNetworkPolicy,
  CiliumPortRule,
  CiliumRule,
} from '../../api/cilium-policy-types.ts';
import type { Direction, PolicyRef, RuleRef } from '../decision.ts';
import { type Policy, policyOf, type PortMatch, type Rule } from '../model.ts';
import type { Peer } from '../peers.ts';
import type { RequestMatch } from '../request.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { PRIORITIES, TIERS } from '../tiers.ts';
import type { Surroundings } from '../world.ts';
import { type PeerContext, readPeers } from './cilium-peers.ts';
import { namesApiServerIn } from './cilium-api-server.ts';
import { namesGroup } from './cilium-ranges.ts';
import { readIcmps, readPorts } from './cilium-ports.ts';
import { readRequests } from './cilium-requests.ts';
import { noPods, readSubject } from './cilium-selectors.ts';
import { type Report, reportTo } from './read.ts';

export type CiliumPolicyObject = CiliumNetworkPolicy | CiliumClusterwideNetworkPolicy;

type AnyRule = CiliumIngressRule & CiliumEgressRule;

/** `spec` first, then each of `specs`. */
export function lowerCiliumPolicy(
  object: CiliumPolicyObject,
  inherited?: Stage,
  surroundings: Surroundings = {},
): Policy[] {
  const { kind, metadata, spec, specs } = object;
  const namespace = kind === 'CiliumNetworkPolicy' ? (metadata.namespace ?? 'default') : '';
  const ref: PolicyRef = { kind, namespace, name: metadata.name };
  const stage = stageIn(metadata.labels) ?? inherited ?? 'enforce';
  const bodies = [
    ...(spec ? [{ body: spec, path: 'spec' }] : []),
    ...(specs ?? []).map((body, i) => ({ body, path: `specs[${i}]` })),
  ];
  if (bodies.length === 0) return [nobodys({ ref, stage, path: 'spec' }, 'is missing, and specs too')];
  const count: Record<Direction, number> = { ingress: 0, egress: 0 };
  return bodies.map(({ body, path }) => {
    const policy = path === 'spec' ? ref : { ...ref, part: path };
    return lowerBody(body, {
      ref: policy,
      stage,
      path,
      namespace,
      surroundings,
      next: (direction) => count[direction]++,
    });
  });
}

const rulesOf = ({ spec, specs }: CiliumPolicyObject): AnyRule[] =>
  [...(spec ? [spec] : []), ...(specs ?? [])].flatMap((body) =>
    SECTIONS.flatMap((section): AnyRule[] => body[section] ?? []),
  );

/** Whether what it means depends on Services. */
export const namesServices = (object: CiliumPolicyObject): boolean =>
  rulesOf(object).some(({ toServices }) => toServices !== undefined);

/** Whether what it means depends on who the API server is. */
export const namesApiServer = (object: CiliumPolicyObject): boolean => rulesOf(object).some(namesApiServerIn);

/** Whether what it means depends on CiliumCIDRGroups. */
export const namesGroups = (object: CiliumPolicyObject): boolean =>
  rulesOf(object).some(({ fromCIDRSet = [], toCIDRSet = [] }) =>
    [...fromCIDRSet, ...toCIDRSet].some(namesGroup),
  );

interface Place {
  readonly ref: PolicyRef;
  readonly stage: Stage;
  /** `spec`, `specs[1]` */
  readonly path: string;
}

interface Context extends Place {
  /** Empty of policies for all namespaces. */
  readonly namespace: string;
  readonly surroundings: Surroundings;
  /** Place of the next rule of a direction in the whole object. */
  next(direction: Direction): number;
}

const OPEN = { ingress: false, egress: false };

const nobodys = ({ ref, stage, path }: Place, message: string): Policy =>
  policyOf({
    ref,
    stage,
    subject: noPods,
    tier: TIERS.default,
    isolates: OPEN,
    rules: [],
    problems: [{ policy: ref, path, message }],
  });

function lowerBody(body: CiliumRule, at: Context): Policy {
  const { ref, stage, path, namespace } = at;
  const { endpointSelector, nodeSelector } = body;
  if (nodeSelector)
    return nobodys(
      { ...at, path: `${path}.nodeSelector` },
      'is refused: policies for nodes are not enforced yet',
    );
  if (!endpointSelector)
    return nobodys({ ...at, path: `${path}.endpointSelector` }, 'is missing; {} is every pod');
  const problems: PolicyProblem[] = [];
  const report = reportTo(problems, ref);
  const subject = readSubject(endpointSelector, namespace, `${path}.endpointSelector`, report);
  const isolates = {
    ingress: isClosed(body, 'ingress', path, report),
    egress: isClosed(body, 'egress', path, report),
  };
  const rules = subject ? lowerRules(body, at, report) : [];
  return policyOf({
    ref,
    stage,
    subject: subject ?? noPods,
    tier: TIERS.default,
    isolates: subject ? isolates : OPEN,
    rules,
    problems,
  });
}

const sectionsOf = (direction: Direction): readonly Section[] =>
  direction === 'ingress' ? ['ingress', 'ingressDeny'] : ['egress', 'egressDeny'];

/** A direction without a rule is left alone, whatever enableDefaultDeny says. */
function isClosed(body: CiliumRule, direction: Direction, path: string, report: Report): boolean {
  const wanted = body.enableDefaultDeny?.[direction];
  const hasRules = sectionsOf(direction).some((section) => (body[section]?.length ?? 0) > 0);
  if (wanted === true && !hasRules)
    report(
      `${path}.enableDefaultDeny.${direction}`,
      `closes nothing: there is no rule (${direction}: [{}] is one)`,
    );
  return hasRules && wanted !== false;
}

function lowerRules(body: CiliumRule, at: Context, report: Report): Rule[] {
  const said = body.log?.value;
  const title = said === undefined || said === '' ? {} : { title: said };
  return SECTIONS.flatMap((section) =>
    (body[section] ?? []).flatMap((rule, i) => {
      const direction = section.startsWith('ingress') ? 'ingress' : 'egress';
      const path = `${at.path}.${section}[${i}]`;
      const { kind, namespace, name } = at.ref;
      const refAt = (where: string): RuleRef => ({
        kind,
        namespace,
        name,
        direction,
        index: at.next(direction),
        path: where,
        ...title,
      });
      const isDeny = section.endsWith('Deny');
      const parts = readParts(
        rule,
        { direction, isDeny, namespace: at.namespace, surroundings: at.surroundings, path },
        report,
      );
      if (parts === undefined) return [isDeny ? denyAll(refAt(path)) : allowNone(refAt(path))];
      return parts.map(({ path: where, ...part }) => ({
        ref: refAt(where),
        tier: TIERS.default,
        priority: isDeny ? PRIORITIES.denyFirst : PRIORITIES.unordered,
        verdict: isDeny ? 'deny' : 'allow',
        ...part,
      }));
    }),
  );
}

const denyAll = (ref: RuleRef): Rule => ({
  ref,
  tier: TIERS.default,
  priority: PRIORITIES.denyFirst,
  verdict: 'deny',
  peers: null,
  ports: null,
});

const allowNone = (ref: RuleRef): Rule => ({
  ref,
  tier: TIERS.default,
  priority: PRIORITIES.unordered,
  verdict: 'allow',
  peers: [],
  ports: [],
});

interface RulePlace extends PeerContext {
  readonly direction: Direction;
  readonly isDeny: boolean;
  readonly path: string;
}

/** One rule of the model, which may be one of several that a rule is. */
interface Part {
  readonly path: string;
  readonly peers: readonly Peer[] | null;
  readonly ports: readonly PortMatch[] | null;
  readonly l7?: readonly RequestMatch[];
  readonly auth?: 'required' | 'test-always-fail';
}

/** Undefined if any of it cannot be read. */
function readParts(rule: AnyRule, at: RulePlace, report: Report): Part[] | undefined {
  const { direction, isDeny, path } = at;
  const peers = readPeers(rule, direction === 'ingress' ? 'from' : 'to', at, path, report);
  const ports = readPortParts(rule, at, report);
  const auth = isDeny ? {} : readAuthentication(rule, path, report);
  if (peers === undefined || ports === undefined || auth === undefined) return undefined;
  // Neither peers nor ports: an empty rule, which is for nobody.
  if (ports === null) return [{ path, peers: peers ?? [], ports: null, ...auth }];
  return ports.map((part) => ({ peers, ...part, ...auth }));
}

function readAuthentication(
  { authentication }: AnyRule,
  path: string,
  report: Report,
): Pick<Part, 'auth'> | undefined {
  const mode = authentication?.mode ?? 'disabled';
  if (mode === 'disabled') return {};
  if (mode === 'required' || mode === 'test-always-fail') return { auth: mode };
  report(`${path}.authentication.mode`, `"${mode}" is none of ${AUTHENTICATION_MODES.join(', ')}`);
  return undefined;
}

type PortPart = Pick<Part, 'path' | 'ports' | 'l7'>;

/** Null: everything. Ports of which nothing more is asked are one part, all others are parts of their own. */
function readPortParts(rule: AnyRule, at: RulePlace, report: Report): PortPart[] | null | undefined {
  const { path } = at;
  const toPorts = rule.toPorts ?? [];
  const icmps = rule.icmps ?? [];
  if (toPorts.length > 0 && icmps.length > 0) {
    report(`${path}.icmps`, 'may not be used with toPorts: write another rule');
    return undefined;
  }
  if (icmps.length > 0) {
    const ports = readIcmps(icmps, `${path}.icmps`, report);
    return ports && [{ path, ports }];
  }
  if (toPorts.length === 0) return null;
  const read = toPorts.map((each, i) => readPortRule(each, at, `${path}.toPorts[${i}]`, report));
  const known = read.filter((each) => each !== undefined);
  if (known.length < read.length) return undefined;
  const plain = known.filter(({ l7 }) => l7 === undefined);
  return [
    ...(plain.length > 0 ? [{ path, ports: plain.flatMap(({ ports }) => ports ?? []) }] : []),
    ...known.filter(({ l7 }) => l7 !== undefined),
  ];
}

function readPortRule(
  rule: CiliumPortRule,
  at: RulePlace,
  path: string,
  report: Report,
): PortPart | undefined {
  const refused = Object.keys(REFUSED_PORT_PARTS).filter(
    (field) => (rule[field as 'listener'] ?? undefined) !== undefined,
  );
  for (const field of refused) report(`${path}.${field}`, `is refused: ${REFUSED_PORT_PARTS[field]}`);
  const ports = readPorts(rule.ports, `${path}.ports`, report);
  const l7 = readRequests(rule.rules ?? undefined, `${path}.rules`, report);
  const misplaced = l7 ? misplacedRequests(rule, at) : undefined;
  if (misplaced !== undefined) report(`${path}.rules`, misplaced);
  if (refused.length > 0 || ports === undefined || l7 === undefined || misplaced !== undefined)
    return undefined;
  return { path, ports, ...(l7 === null ? {} : { l7 }) };
}

function misplacedRequests(
  { rules, ports = [] }: CiliumPortRule,
  { direction, isDeny }: RulePlace,
): string | undefined {
  if (isDeny) return 'is refused: what is denied is denied whatever is asked for';
  if (rules?.dns) return direction === 'ingress' ? 'has dns, which may not be used for ingress' : undefined;
  const other = ports.find(({ protocol }) => protocol !== 'TCP');
  return other && `is of requests that come over TCP, not ${other.protocol ?? 'ANY'}`;
}
