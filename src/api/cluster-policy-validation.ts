/** What the cluster-wide policies of policy.networking.k8s.io have in common, checked as their CRDs check it. */
import { tryParseCidr } from '../lib/ip.ts';
import {
  duplicate,
  forbidden,
  invalid,
  notSupported,
  type Problems,
  required,
  tooMany,
} from './field-error.ts';
import { validateLabelSelector } from './label-selector.ts';
import type { ClusterPolicyPeer, ClusterPolicyRule, NamespacedPods, PolicySubject } from './types.ts';

/** Actions and lengths that the kinds differ in. */
export interface Limits<R extends ClusterPolicyRule> {
  readonly actions: readonly string[];
  readonly rules: number;
  readonly peers: number;
  /** Of `pods`, beside the podSelector. */
  readonly needsNamespaceSelector: boolean;
  /** What a CIDR has to be beside one that can be read; undefined if it is. */
  cidr(text: string): string | undefined;
  ports(rule: R, path: string): Problems;
  /** It names ports that only pods can name. */
  usesPortNames(rule: R): boolean;
}

const MAX_NAME = 100;
const MAX_RANGES = 25;

/** Exactly one of its fields, as `minProperties` and `maxProperties` of 1 say it. */
export function* exactlyOne(value: object, path: string, names: readonly string[]): Problems {
  const given = Object.entries(value).filter(([key, each]) => names.includes(key) && each !== undefined);
  if (given.length === 0)
    yield invalid(path, 0, `${path} in body should have at least 1 properties (one of ${names.join(', ')})`);
  if (given.length > 1) yield tooMany(path, given.length, 1);
}

export function* within(path: string, value: unknown, first: number, last: number): Problems {
  if (value === undefined || value === null) yield required(path);
  else if (typeof value === 'number' && value < first)
    yield invalid(path, value, `${path} in body should be greater than or equal to ${first}`);
  else if (typeof value === 'number' && value > last)
    yield invalid(path, value, `${path} in body should be less than or equal to ${last}`);
}

type Needs = Pick<Limits<never>, 'needsNamespaceSelector'>;

export function* validateSubject(subject: PolicySubject | undefined, path: string, needs: Needs): Problems {
  if (!subject) {
    yield required(path);
    return;
  }
  yield* exactlyOne(subject, path, ['namespaces', 'pods']);
  yield* validateLabelSelector(subject.namespaces, `${path}.namespaces`);
  yield* validatePods(subject.pods, `${path}.pods`, needs);
}

function* validatePods(pods: NamespacedPods | undefined, path: string, needs: Needs): Problems {
  if (!pods) return;
  if (needs.needsNamespaceSelector && !pods.namespaceSelector) yield required(`${path}.namespaceSelector`);
  if (!pods.podSelector) yield required(`${path}.podSelector`);
  yield* validateLabelSelector(pods.namespaceSelector, `${path}.namespaceSelector`);
  yield* validateLabelSelector(pods.podSelector, `${path}.podSelector`);
}

export function* validateRules<R extends ClusterPolicyRule>(
  spec: { readonly ingress?: readonly R[]; readonly egress?: readonly R[] },
  limits: Limits<R>,
): Problems {
  for (const direction of ['ingress', 'egress'] as const) {
    const rules = spec[direction] ?? [];
    const path = `spec.${direction}`;
    if (rules.length > limits.rules) yield tooMany(path, rules.length, limits.rules);
    for (const [i, rule] of rules.entries()) yield* validateRule(rule, direction, `${path}[${i}]`, limits);
  }
}

function* validateRule<R extends ClusterPolicyRule>(
  rule: R,
  direction: 'ingress' | 'egress',
  path: string,
  limits: Limits<R>,
): Problems {
  const { name, action } = rule;
  if (name !== undefined && Array.from(name).length > MAX_NAME)
    yield invalid(`${path}.name`, name, `${path}.name in body should be at most ${MAX_NAME} chars long`);
  if (action === undefined || action === '') yield required(`${path}.action`);
  else if (!limits.actions.includes(action)) yield notSupported(`${path}.action`, action, limits.actions);
  const side = direction === 'ingress' ? 'from' : 'to';
  const peers = rule[side];
  if (!peers) yield required(`${path}.${side}`);
  else yield* ofLength(`${path}.${side}`, peers, limits.peers);
  for (const [i, peer] of (peers ?? []).entries())
    yield* direction === 'ingress'
      ? validateIngressPeer(peer, `${path}.${side}[${i}]`, limits)
      : validateEgressPeer(peer, `${path}.${side}[${i}]`, limits);
  yield* limits.ports(rule, path);
  const isNameless = (peer: ClusterPolicyPeer) => peer.networks ?? peer.nodes ?? peer.domainNames;
  if (direction === 'egress' && limits.usesPortNames(rule) && (peers ?? []).some(isNameless))
    yield invalid(
      path,
      'object',
      'networks/nodes/domainNames peer cannot be set with namedPorts since there are no namedPorts for networks/nodes/domainNames',
    );
}

export function* ofLength(path: string, list: readonly unknown[], most: number): Problems {
  if (list.length === 0) yield invalid(path, 0, `${path} in body should have at least 1 items`);
  if (list.length > most) yield tooMany(path, list.length, most);
}

function* validateIngressPeer(peer: ClusterPolicyPeer, path: string, limits: Needs): Problems {
  yield* exactlyOne(peer, path, ['namespaces', 'pods']);
  yield* validateLabelSelector(peer.namespaces, `${path}.namespaces`);
  yield* validatePods(peer.pods, `${path}.pods`, limits);
}

function* validateEgressPeer<R extends ClusterPolicyRule>(
  peer: ClusterPolicyPeer,
  path: string,
  limits: Limits<R>,
): Problems {
  yield* exactlyOne(peer, path, ['namespaces', 'pods', 'nodes', 'networks', 'domainNames']);
  yield* validateLabelSelector(peer.namespaces, `${path}.namespaces`);
  yield* validatePods(peer.pods, `${path}.pods`, limits);
  yield* validateLabelSelector(peer.nodes, `${path}.nodes`);
  if (peer.networks) yield* validateNetworks(peer.networks, `${path}.networks`, limits);
  if (peer.domainNames) yield forbidden(`${path}.domainNames`, 'policy by domain name is not enforced yet');
}

function* validateNetworks<R extends ClusterPolicyRule>(
  networks: readonly string[],
  path: string,
  limits: Limits<R>,
): Problems {
  yield* ofLength(path, networks, MAX_RANGES);
  for (const [i, text] of networks.entries()) {
    const words = tryParseCidr(text) ? limits.cidr(text) : 'Invalid CIDR format provided';
    if (words !== undefined) yield invalid(`${path}[${i}]`, text, words);
    if (networks.indexOf(text) < i) yield duplicate(`${path}[${i}]`, text);
  }
}
