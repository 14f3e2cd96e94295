/**
 * A second reading of the policy languages, written from their API references alone: it shares no code with the
 * engine, not even for addresses.
 */
import { BlockList } from 'node:net';
import type { ClusterNetworkPolicyProtocol, ClusterPolicyPeer, NetworkPolicy } from '../../api/types.ts';
import type { PolicyObject } from '../objects.ts';
import type { Flow, FlowEnd, World, WorldPod } from '../world.ts';

type Spec = NonNullable<NetworkPolicy['spec']>;
type Peer = NonNullable<NonNullable<Spec['ingress']>[number]['from']>[number];
type Port = NonNullable<NonNullable<Spec['ingress']>[number]['ports']>[number];
type Selector = NonNullable<Peer['podSelector']>;
type Admin = Extract<PolicyObject, { kind: 'AdminNetworkPolicy' | 'BaselineAdminNetworkPolicy' }>;
type Cluster = Extract<PolicyObject, { kind: 'ClusterNetworkPolicy' }>;

export interface Who {
  pod?: WorldPod;
  node?: string;
  ip: string;
}

/** The ends of one flow, as the pod at which it is judged sees them. */
interface Case {
  readonly world: World;
  readonly flow: Flow;
  readonly ingress: boolean;
  readonly here: WorldPod;
  readonly there: Who;
  readonly destination: Who;
}

export interface Reading {
  readonly verdict: 'allow' | 'deny';
  /** `kind namespace/name index` */
  readonly rule?: string;
  /** `namespace/name` of the NetworkPolicies that isolate the pod. */
  readonly isolating: readonly string[];
}

function select(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {}))
    if (labels[key] !== value) return false;
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const has = key in labels;
    const listed = has && (values ?? []).includes(labels[key]!);
    if (operator === 'In' && !listed) return false;
    if (operator === 'NotIn' && listed) return false;
    if (operator === 'Exists' && !has) return false;
    if (operator === 'DoesNotExist' && has) return false;
  }
  return true;
}

export function inBlock(ip: string, cidr: string): boolean {
  // BlockList takes IPv4 for a part of ::/0, as mapped addresses.
  if (ip.includes(':') !== cidr.includes(':')) return false;
  const list = new BlockList();
  const [network, length] = cidr.split('/');
  list.addSubnet(network!, Number(length), network!.includes(':') ? 'ipv6' : 'ipv4');
  return list.check(ip, ip.includes(':') ? 'ipv6' : 'ipv4');
}

export function who(world: World, end: FlowEnd, family: number): Who {
  const right = (ip: string) => ip.includes(':') === (family === 6);
  if ('pod' in end) {
    const pod = world.pods.find((p) => `${p.namespace}/${p.name}` === end.pod)!;
    if (!pod.hostNetwork) return { pod, ip: pod.addresses.find(right)! };
    return { node: pod.node, ip: world.nodes.find((n) => n.name === pod.node)!.addresses.find(right)! };
  }
  const pod = world.pods.find((p) => !p.hostNetwork && p.addresses.includes(end.address));
  const node = world.nodes.find((n) => n.addresses.includes(end.address));
  return { pod, node: node?.name, ip: end.address };
}

export const namespaceLabels = (world: World, namespace: string) => ({
  ...world.namespaces.find((n) => n.name === namespace)?.labels,
  'kubernetes.io/metadata.name': namespace,
});

const nameOf = (p: PolicyObject) => `${p.metadata.namespace ?? ''}/${p.metadata.name}`;

const hasNamedPort = ({ flow, destination }: Case, name: string, protocol: string): boolean =>
  flow.protocol === protocol &&
  (destination.pod?.ports ?? []).some(
    (p) => p.name === name && p.protocol === protocol && p.port === flow.port,
  );

// NetworkPolicy v1.

function peerHolds({ world, there }: Case, policy: NetworkPolicy, peer: Peer): boolean {
  if (peer.ipBlock) {
    const { cidr, except } = peer.ipBlock;
    return inBlock(there.ip, cidr) && !(except ?? []).some((e) => inBlock(there.ip, e));
  }
  if (!there.pod) return false;
  const { namespace } = there.pod;
  const rightNamespace = peer.namespaceSelector
    ? select(peer.namespaceSelector, namespaceLabels(world, namespace))
    : namespace === policy.metadata.namespace;
  return rightNamespace && select(peer.podSelector ?? {}, there.pod.labels);
}

function portHolds(at: Case, port: Port): boolean {
  const { flow } = at;
  const protocol = port.protocol ?? 'TCP';
  if (flow.protocol !== protocol) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === 'string') return hasNamedPort(at, port.port, protocol);
  return flow.port! >= port.port && flow.port! <= (port.endPort ?? port.port);
}

function policyTypes(spec: Spec): readonly string[] {
  if (spec.policyTypes && spec.policyTypes.length > 0) return spec.policyTypes;
  return spec.egress && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
}

/** The policies that isolate and the rules that allow, in deciding order. */
function readNetworkPolicies(at: Case, policies: readonly PolicyObject[]) {
  const isolating: string[] = [];
  const rules: string[] = [];
  const own = policies.filter(
    (p): p is NetworkPolicy => p.kind === 'NetworkPolicy' && p.apiVersion === 'networking.k8s.io/v1',
  );
  for (const policy of [...own].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))) {
    const spec = policy.spec!;
    if (policy.metadata.namespace !== at.here.namespace) continue;
    if (!select(spec.podSelector ?? {}, at.here.labels)) continue;
    if (!policyTypes(spec).includes(at.ingress ? 'Ingress' : 'Egress')) continue;
    isolating.push(nameOf(policy));
    const list = at.ingress
      ? (spec.ingress ?? []).map((r) => ({ peers: r.from ?? [], ports: r.ports ?? [] }))
      : (spec.egress ?? []).map((r) => ({ peers: r.to ?? [], ports: r.ports ?? [] }));
    for (const [i, { peers, ports }] of list.entries()) {
      const peerOk = peers.length === 0 || peers.some((peer) => peerHolds(at, policy, peer));
      const portOk = ports.length === 0 || ports.some((port) => portHolds(at, port));
      if (peerOk && portOk) rules.push(`NetworkPolicy ${nameOf(policy)} ${i}`);
    }
  }
  return { isolating, rule: rules[0] };
}

// policy.networking.k8s.io: v1alpha1 and v1alpha2.

function selectsPod(
  world: World,
  { namespaces, pods }: ClusterPolicyPeer,
  pod: WorldPod | undefined,
): boolean {
  if (!pod) return false;
  const labels = namespaceLabels(world, pod.namespace);
  if (namespaces) return select(namespaces, labels);
  return (
    pods !== undefined && select(pods.namespaceSelector!, labels) && select(pods.podSelector!, pod.labels)
  );
}

function clusterPeerHolds({ world, there }: Case, peer: ClusterPolicyPeer): boolean {
  if (peer.networks) return peer.networks.some((cidr) => inBlock(there.ip, cidr));
  if (peer.nodes)
    return world.nodes.some(
      ({ addresses, externalAddresses, labels }) =>
        select(peer.nodes!, labels!) && [...addresses, ...(externalAddresses ?? [])].includes(there.ip),
    );
  return selectsPod(world, peer, there.pod);
}

const between = (at: Case, protocol: string, first: number, last: number): boolean =>
  at.flow.protocol === protocol && at.flow.port! >= first && at.flow.port! <= last;

const hasNamedPortOfAny = (at: Case, name: string): boolean =>
  ['TCP', 'UDP', 'SCTP'].some((protocol) => hasNamedPort(at, name, protocol));

function adminPortsHold(at: Case, { ports }: NonNullable<Admin['spec']['ingress']>[number]): boolean {
  if (!ports) return true;
  return ports.some(({ portNumber, portRange, namedPort }) => {
    if (portNumber) return between(at, portNumber.protocol ?? 'TCP', portNumber.port, portNumber.port);
    if (portRange) return between(at, portRange.protocol ?? 'TCP', portRange.start, portRange.end);
    return hasNamedPortOfAny(at, namedPort!);
  });
}

function protocolHolds(at: Case, protocol: ClusterNetworkPolicyProtocol): boolean {
  if (protocol.destinationNamedPort) return hasNamedPortOfAny(at, protocol.destinationNamedPort);
  const [[name, attributes]] = Object.entries(protocol) as [[string, NonNullable<typeof protocol.tcp>]];
  const { number, range } = attributes.destinationPort!;
  return between(at, name.toUpperCase(), range?.start ?? number!, range?.end ?? number!);
}

/**
 * A peer without a field that is known, as of a newer version: "For Accept rules, fail closed means: treat the rule as
 * matching no traffic. For Deny and Pass rules: treat the rule as a Deny all rule."
 */
const isUnknown = ({ from, to }: { from?: ClusterPolicyPeer[]; to?: ClusterPolicyPeer[] }): boolean =>
  (from ?? to)!.some((peer) => Object.keys(peer).length === 0);

const isAllowing = (action: string): boolean => action === 'Allow' || action === 'Accept';

/** What a tier says: the last word of its first rule that matches, and which it is. */
function readTier(
  at: Case,
  policies: readonly (Admin | Cluster)[],
): { action: string; rule: string } | undefined {
  for (const policy of policies) {
    if (!selectsPod(at.world, policy.spec.subject, at.here)) continue;
    const rules = (at.ingress ? policy.spec.ingress : policy.spec.egress) ?? [];
    for (const [i, rule] of rules.entries()) {
      const portsHold =
        'protocols' in rule && rule.protocols
          ? rule.protocols.some((protocol) => protocolHolds(at, protocol))
          : adminPortsHold(at, rule);
      if (isUnknown(rule) && !isAllowing(rule.action))
        return { action: 'Deny', rule: `${policy.kind} ${nameOf(policy)} ${i}` };
      if (
        isUnknown(rule) ||
        !portsHold ||
        !(rule.from ?? rule.to)!.some((peer) => clusterPeerHolds(at, peer))
      )
        continue;
      return { action: rule.action, rule: `${policy.kind} ${nameOf(policy)} ${i}` };
    }
  }
  return undefined;
}

/** By priority; of equals the first by name and kind, a choice that the specifications leave open. */
function ordered<T extends Admin | Cluster>(policies: readonly T[]): T[] {
  const key = (p: T) =>
    `${'priority' in p.spec ? 1000 + p.spec.priority : 9999} ${p.metadata.name} ${p.kind}`;
  return [...policies].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

const isFinal = (action: string | undefined): boolean => action !== undefined && action !== 'Pass';

const final = ({ action, rule }: { action: string; rule: string }) => ({
  verdict: action === 'Deny' ? ('deny' as const) : ('allow' as const),
  rule,
});

/** Undefined where nothing is enforced: at what is no pod, of a pod to itself, and of its own node. */
export function readSide(world: World, flow: Flow, ingress: boolean): Reading | undefined {
  const source = who(world, flow.src, flow.family!);
  const destination = who(world, flow.dst, flow.family!);
  const [here, there] = ingress ? [destination.pod, source] : [source.pod, destination];
  if (!here || there.pod === here) return undefined;
  if (there.node === here.node || world.nodeLocal!.includes(there.ip)) return undefined;
  const at: Case = { world, flow, ingress, here, there, destination };
  const { policies } = world;
  const clusters = policies.filter((p) => p.kind === 'ClusterNetworkPolicy');
  const { isolating, rule } = readNetworkPolicies(at, policies);

  const admin = readTier(
    at,
    ordered([
      ...policies.filter((p) => p.kind === 'AdminNetworkPolicy'),
      ...clusters.filter((p) => p.spec.tier === 'Admin'),
    ]),
  );
  if (admin && isFinal(admin.action)) return { ...final(admin), isolating };
  if (isolating.length > 0)
    return rule ? { verdict: 'allow', rule, isolating } : { verdict: 'deny', isolating };
  const baseline = readTier(at, [
    ...ordered(clusters.filter((p) => p.spec.tier === 'Baseline')),
    ...policies.filter((p) => p.kind === 'BaselineAdminNetworkPolicy'),
  ]);
  if (baseline && isFinal(baseline.action)) return { ...final(baseline), isolating };
  return { verdict: 'allow', isolating };
}
