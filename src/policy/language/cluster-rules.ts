/**
 * What the cluster-wide languages of policy.networking.k8s.io have in common. What cannot be read fails closed, as
 * their specifications say it: an allowing rule matches nothing, any other denies everything.
 */
import type {
  ClusterPolicyPeer,
  ClusterPolicyRule,
  NamespacedPods,
  ObjectMeta,
  PolicySubject,
} from '../../api/types.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { type Policy, type PortMatch, policyOf, type Rule, type RuleVerdict } from '../model.ts';
import { blockPeer, nodePeer, type Peer, type PodPeer, podPeer } from '../peers.ts';
import { everything } from '../selector.ts';
import { stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { readCidr, readSelector, type Report } from './read.ts';

export interface ClusterPolicyObject<R extends ClusterPolicyRule> {
  readonly metadata: ObjectMeta;
  readonly spec?: {
    readonly subject?: PolicySubject | undefined;
    readonly ingress?: readonly R[] | undefined;
    readonly egress?: readonly R[] | undefined;
  };
}

/** What the languages differ in. */
export interface Language<R extends ClusterPolicyRule> {
  readonly kind: string;
  readonly tier: number;
  /** Undefined: it cannot be read. */
  readonly priority: number | undefined;
  readonly actions: Readonly<Record<string, RuleVerdict>>;
  /** Undefined if a part cannot be read. */
  readPorts(rule: R, path: string, report: Report): readonly PortMatch[] | null | undefined;
}

export function lowerClusterPolicy<R extends ClusterPolicyRule>(
  { metadata, spec }: ClusterPolicyObject<R>,
  language: Language<R>,
): Policy {
  const ref: PolicyRef = { kind: language.kind, namespace: '', name: metadata.name };
  const problems: PolicyProblem[] = [];
  const report: Report = (path, message) => problems.push({ policy: ref, path, message });
  const subject = readSubject(spec?.subject, 'spec.subject', report);
  const rulesOf = (direction: Direction): Rule[] =>
    (spec?.[direction] ?? []).map((rule, index) => lowerRule(ref, direction, index, rule, language, report));
  const policy = policyOf({
    ref,
    stage: stageIn(metadata.labels) ?? 'enforce',
    subject: subject ?? podPeer({ name: '' }, everything),
    tier: language.tier,
    isolates: { ingress: false, egress: false },
    rules: subject ? [...rulesOf('ingress'), ...rulesOf('egress')] : [],
    problems,
  });
  if (language.priority !== undefined) return policy;
  return forNobody(policy, 'spec.priority', 'is no number from 0 to 1000');
}

/** Where a policy stands among the others is not known, or it is none of theirs. */
export const forNobody = (policy: Policy, path: string, message: string): Policy => ({
  ...policy,
  concerns: { ingress: false, egress: false },
  rules: [],
  problems: [{ policy: policy.ref, path, message }],
});

export const readPriority = (priority: unknown): number | undefined =>
  Number.isInteger(priority) && Number(priority) >= 0 && Number(priority) <= 1000
    ? Number(priority)
    : undefined;

/** A policy whose subject cannot be read is for nobody. */
function readSubject(subject: PolicySubject | undefined, path: string, report: Report): PodPeer | undefined {
  if (subject && hasOne(subject, ['namespaces', 'pods'])) return readPodPeer(subject, path, report);
  report(path, 'needs one of namespaces and pods');
  return undefined;
}

/** Exactly one field, and that one known. */
function hasOne(value: object, names: readonly string[]): boolean {
  const given = Object.entries(value).filter(([, each]) => each !== undefined && each !== null);
  return given.length === 1 && names.includes(given[0]![0]);
}

function readPodPeer(
  { namespaces, pods }: { namespaces?: PolicySubject['namespaces']; pods?: NamespacedPods },
  path: string,
  report: Report,
): PodPeer | undefined {
  if (namespaces) {
    const selector = readSelector(namespaces, `${path}.namespaces`, report);
    return selector && podPeer({ selector }, everything);
  }
  if (!pods?.podSelector) {
    report(`${path}.pods.podSelector`, 'is missing; {} is every pod');
    return undefined;
  }
  const selector = readSelector(pods.namespaceSelector ?? {}, `${path}.pods.namespaceSelector`, report);
  const own = readSelector(pods.podSelector, `${path}.pods.podSelector`, report);
  return selector && own && podPeer({ selector }, own);
}

function lowerRule<R extends ClusterPolicyRule>(
  policy: PolicyRef,
  direction: Direction,
  index: number,
  rule: R,
  language: Language<R>,
  report: Report,
): Rule {
  const path = `spec.${direction}[${index}]`;
  const side = direction === 'ingress' ? 'from' : 'to';
  const { tier, priority = 0, actions } = language;
  const title = rule.name === undefined || rule.name === '' ? {} : { title: rule.name };
  const ref = { ...policy, direction, index, path, ...title };
  const verdict = Object.hasOwn(actions, rule.action) ? actions[rule.action] : undefined;
  if (!verdict)
    report(
      `${path}.action`,
      `"${rule.action}" is none of ${Object.keys(actions).join(', ')}; it denies everything`,
    );
  const peers = readPeers(rule[side], direction, `${path}.${side}`, report);
  const ports = language.readPorts(rule, path, report);
  if (verdict && peers && ports !== undefined) return { ref, tier, priority, verdict, peers, ports };
  if (verdict === 'allow') return { ref, tier, priority, verdict, peers: [], ports: [] };
  return { ref, tier, priority, verdict: 'deny', peers: null, ports: null };
}

/** Undefined if any of them cannot be read. */
function readPeers(
  list: readonly ClusterPolicyPeer[] | undefined,
  direction: Direction,
  path: string,
  report: Report,
): Peer[] | undefined {
  if (!list || list.length === 0) {
    report(path, 'needs at least one peer');
    return undefined;
  }
  const peers = list.map((peer, i) => readPeer(peer, direction, `${path}[${i}]`, report));
  const known = peers.filter((peer) => peer !== undefined);
  return known.length < peers.length ? undefined : known.flat();
}

const INGRESS_PEERS = ['namespaces', 'pods'];
const EGRESS_PEERS = [...INGRESS_PEERS, 'nodes', 'networks'];

/** Several where a list of ranges is one peer. */
function readPeer(
  peer: ClusterPolicyPeer,
  direction: Direction,
  path: string,
  report: Report,
): Peer[] | undefined {
  const known = direction === 'ingress' ? INGRESS_PEERS : EGRESS_PEERS;
  if (peer.domainNames) {
    report(`${path}.domainNames`, 'policy by domain name is not enforced yet');
    return undefined;
  }
  if (!hasOne(peer, known)) {
    report(path, `needs one of ${known.join(', ')}`);
    return undefined;
  }
  if (peer.networks) return readNetworks(peer.networks, `${path}.networks`, report);
  if (peer.nodes) {
    const nodes = readSelector(peer.nodes, `${path}.nodes`, report);
    return nodes && [nodePeer(nodes)];
  }
  const pods = readPodPeer(peer, path, report);
  return pods && [pods];
}

function readNetworks(networks: readonly string[], path: string, report: Report): Peer[] | undefined {
  const ranges = networks.map((text, i) => readCidr(text, `${path}[${i}]`, report));
  const known = ranges.filter((range) => range !== undefined);
  return known.length < ranges.length ? undefined : known.map((range) => blockPeer(range, []));
}
