/** A World made ready to ask: who an address is, which labels a namespace has, what the policies mean. */
import { CALICO_NAME, NAMESPACE_NAME } from '../api/labels.ts';
import type { Labels } from '../api/selector.ts';
import { HeddleError } from '../lib/errors.ts';
import { type Address, type Family, formatAddress, parseAddress, tryParseAddress } from '../lib/ip.ts';
import { buildMesh, type Mesh } from './mesh/mesh.ts';
import { comparePolicies, compareText, type Policy } from './model.ts';
import type { Belongings } from './peers.ts';
import type { Request } from './request.ts';
import { lowerPolicies, namespaceOf, objectKey } from './objects.ts';
import { createPodDirectory, type PodDirectory } from './pod-directory.ts';
import { type Stage, stageIn } from './stage.ts';
import {
  type Flow,
  type FlowEnd,
  type Protocol,
  podKey,
  type World,
  type WorldName,
  type WorldNamespace,
  type WorldNode,
  type WorldPod,
} from './world.ts';

export interface Scene extends Places {
  /** Lowered, ordered by (kind, namespace, name). */
  readonly policies: readonly Policy[];
  /** Undefined: nothing is said of the mesh. */
  readonly mesh?: Mesh | undefined;
}

/** A Scene but for what the policies say. */
export interface Places extends Belongings {
  /** Pods with an address of their own, ordered by key. */
  readonly pods: readonly WorldPod[];
  readonly nodes: readonly WorldNode[];
  /** As given, to be compared with what is given next. */
  readonly world: Omit<World, 'policies'>;
  readonly namespaces: readonly WorldNamespace[];
  /** Service accounts, as given. */
  readonly accounts: World['serviceAccounts'];
  readonly nodeLocal: ReadonlySet<string>;
  isNodeLocal(address: Address): boolean;
  pod(key: string): WorldPod | undefined;
  podAt(address: string): WorldPod | undefined;
  node(name: string): WorldNode | undefined;
  nodeAt(address: string): WorldNode | undefined;
  /** All that have it, among their external addresses too. */
  nodesWith(address: string): readonly WorldNode[];
  /** Names that were seen to mean it. */
  namesOf(address: string): readonly string[];
}

/** One end of a flow as the enforcement points see it. */
export type End =
  | { readonly type: 'pod'; readonly pod: WorldPod; readonly address: Address | undefined }
  | { readonly type: 'node'; readonly node: string; readonly address: Address | undefined }
  | { readonly type: 'outside'; readonly address: Address };

export interface ResolvedFlow {
  readonly src: End;
  readonly dst: End;
  readonly protocol: Protocol;
  readonly port: number | undefined;
  readonly sourcePort: number | undefined;
  readonly icmp:
    | { readonly family: Family; readonly type: number | undefined; readonly code: number | undefined }
    | undefined;
  readonly protocolNumber: number | undefined;
  readonly request: Request | undefined;
  readonly peer: Flow['peer'];
  readonly providers: Flow['providers'];
}

/** Of objects with the same name the last counts, as if they had been applied in order. */
export function buildScene(world: World): Scene {
  const objects = new Map(world.policies.map((p) => [objectKey(p), p]));
  const stages = namespaceStages(world.namespaces);
  const policies = [...objects.values()].flatMap((p) =>
    lowerPolicies(p, stages.get(namespaceOf(p)), world.surroundings),
  );
  return {
    ...buildPlaces(world),
    policies: policies.sort((a, b) => comparePolicies(a.ref, b.ref)),
    mesh: buildMesh(world),
  };
}

/** Of namespaces that have one. */
export function namespaceStages(namespaces: readonly WorldNamespace[]): ReadonlyMap<string, Stage> {
  return new Map(
    namespaces.flatMap(({ name, labels }) => {
      const stage = stageIn(labels);
      return stage ? [[name, stage] as const] : [];
    }),
  );
}

export function buildPlaces(
  world: Omit<World, 'policies'>,
  directory: PodDirectory = createPodDirectory(world.pods),
): Places {
  const nodes = sortedBy(world.nodes, (node) => node.name);
  const namespaces = new Map(world.namespaces.map((n) => [n.name, withName(n.name, n.labels)]));
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const nodeAt = byAddress(nodes);
  const nodesWith = ownersByAddress(nodes);
  const nodeLocal = new Set((world.nodeLocal ?? []).map(canonical));
  const accounts = new Map((world.serviceAccounts ?? []).map((each) => [podKey(each), each.labels]));
  const names = namesByAddress(world.names ?? []);
  return {
    pods: directory.pods,
    nodes,
    world,
    namespaces: world.namespaces,
    accounts: world.serviceAccounts,
    nodeLocal,
    isNodeLocal: (address) => nodeLocal.has(formatAddress(address)),
    pod: directory.byKey,
    podAt: directory.at,
    node: (name) => byName.get(name),
    nodeAt: (address) => nodeAt.get(address),
    nodesWith: (address) => nodesWith.get(address) ?? [],
    namesOf: (address) => names.get(address) ?? [],
    namespaceLabels: (name) => namespaces.get(name) ?? withName(name, {}),
    accountLabels: (namespace, name) => ({
      ...accounts.get(podKey({ namespace, name })),
      [CALICO_NAME]: name,
    }),
  };
}

/** The API server gives every namespace this label; files need not have it. */
const withName = (name: string, labels: Labels): Labels => ({
  ...labels,
  [NAMESPACE_NAME]: name,
});

function sortedBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  const unique = new Map(items.map((item) => [key(item), item]));
  return [...unique.entries()].sort(([a], [b]) => compareText(a, b)).map(([, item]) => item);
}

/** What is no address is nobody's. Of two owners of an address the first by name counts. */
function byAddress<T extends { addresses: readonly string[] }>(owners: readonly T[]): Map<string, T> {
  const map = new Map<string, T>();
  for (const owner of owners)
    for (const text of owner.addresses) {
      const address = canonical(text);
      if (!map.has(address)) map.set(address, owner);
    }
  return map;
}

function ownersByAddress(nodes: readonly WorldNode[]): Map<string, WorldNode[]> {
  const owners = new Map<string, WorldNode[]>();
  for (const node of nodes)
    for (const address of new Set(nodeAddresses(node).map(canonical))) {
      const known = owners.get(address);
      if (known) known.push(node);
      else owners.set(address, [node]);
    }
  return owners;
}

function namesByAddress(known: readonly WorldName[]): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const { name, addresses } of known)
    for (const address of new Set(addresses.map(canonical))) {
      const others = names.get(address);
      if (others) others.push(name);
      else names.set(address, [name]);
    }
  return names;
}

/** All that rules for nodes know it by. */
export const nodeAddresses = ({ addresses, externalAddresses = [] }: WorldNode): readonly string[] => [
  ...addresses,
  ...externalAddresses,
];

/** Text that is no address stays as it is. */
export function canonical(text: string): string {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : text;
}

/** @throws HeddleError `UnknownPod`, `BadAddress`, `BadFlow` */
export function resolveFlow(scene: Places, flow: Flow): ResolvedFlow {
  checkFlow(flow);
  const family = familyOf(scene, flow);
  return flowBetween(resolveEnd(scene, flow.src, family), resolveEnd(scene, flow.dst, family), flow, family);
}

const hasPorts = (protocol: Protocol): boolean =>
  protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP';

/** Of what does not depend on who is at its ends. @throws HeddleError `BadFlow` */
export function checkFlow({ protocol, port, request }: Flow): void {
  if (hasPorts(protocol) && !(Number.isInteger(port) && port! >= 0 && port! <= 65535))
    throw new HeddleError(
      'BadFlow',
      `a ${protocol} flow needs a destination port from 0 to 65535, not ${port}`,
    );
  if (request && protocol !== 'TCP' && !(protocol === 'UDP' && request.type === 'dns'))
    throw new HeddleError('BadFlow', `a ${protocol} flow has no ${request.type} requests`);
}

/** Of a flow that has been checked. */
export function flowBetween(src: End, dst: End, flow: Flow, family: Family): ResolvedFlow {
  const { protocol, port, sourcePort, icmp, protocolNumber, request, peer, providers } = flow;
  const ports = hasPorts(protocol);
  return {
    src,
    dst,
    protocol,
    port: ports ? port : undefined,
    sourcePort: ports ? sourcePort : undefined,
    icmp: protocol === 'ICMP' ? { family, type: icmp?.type, code: icmp?.code } : undefined,
    protocolNumber: protocol === 'OTHER' ? protocolNumber : undefined,
    request,
    peer,
    providers,
  };
}

function familyOf(scene: Places, flow: Flow): Family {
  const ends = [flow.src, flow.dst];
  const fixed = ends.flatMap((end) => ('address' in end ? [parseAddress(end.address).family] : []));
  const family = flow.family ?? fixed[0];
  if (family !== undefined) {
    if (fixed.every((other) => other === family)) return family;
    throw new HeddleError('BadFlow', 'a flow cannot have one end in IPv4 and the other in IPv6');
  }
  const families = ends.map((end) => addressesOf(scene, podOf(scene, end)).map((address) => address.family));
  return families.some((of) => of.length > 0 && !of.includes(4)) ? 6 : 4;
}

function resolveEnd(scene: Places, end: FlowEnd, family: Family): End {
  if ('address' in end) return whoIs(scene, parseAddress(end.address));
  const pod = podOf(scene, end);
  const address = addressesOf(scene, pod).find((a) => a.family === family);
  return pod.hostNetwork === true ? { type: 'node', node: pod.node, address } : { type: 'pod', pod, address };
}

function podOf(scene: Places, end: FlowEnd): WorldPod {
  const key = 'pod' in end ? end.pod : '';
  const pod = scene.pod(key);
  if (pod) return pod;
  throw new HeddleError('UnknownPod', `no pod "${key}" is known (expected namespace/name)`, {
    hint: 'A pod that has ended has no traffic and is not known.',
  });
}

/** In its family at most one. */
export function addressesOf(scene: Places, pod: WorldPod): Address[] {
  const texts = pod.hostNetwork === true ? (scene.node(pod.node)?.addresses ?? []) : pod.addresses;
  return texts.map(tryParseAddress).filter((address) => address !== undefined);
}

export function whoIs(scene: Places, address: Address): End {
  const text = formatAddress(address);
  const pod = scene.podAt(text);
  if (pod) return { type: 'pod', pod, address };
  const node = scene.nodeAt(text);
  return node ? { type: 'node', node: node.name, address } : { type: 'outside', address };
}
