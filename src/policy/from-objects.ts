/** A World out of Kubernetes objects: the same reading for agents, the demo and files. */
import type { Namespace, Node, ObjectMeta, Pod, ServiceAccount } from '../api/types.ts';
import { tryParseAddress } from '../lib/ip.ts';
import type { MeshObject } from './mesh/objects.ts';
import type { PolicyObject } from './objects.ts';
import { surroundingsOf } from './surroundings.ts';
import type { World, WorldNamespace, WorldNode, WorldPod, WorldPort, WorldServiceAccount } from './world.ts';

export interface WorldObjects {
  readonly pods: Iterable<Pod>;
  readonly namespaces: Iterable<Namespace>;
  readonly nodes: Iterable<Node>;
  readonly policies: Iterable<PolicyObject>;
  readonly mesh?: Iterable<MeshObject>;
  readonly serviceAccounts?: Iterable<ServiceAccount>;
  /** What policies refer to, of any kind; objects of other kinds say nothing. */
  readonly others?: Iterable<{ apiVersion: string; kind: string; metadata: ObjectMeta }>;
  /** Addresses that each node answers itself: the cluster DNS addresses. */
  readonly nodeLocal?: readonly string[];
}

/** Undefined for a pod that has ended: it neither sends nor receives. */
export function worldPod(pod: Pod): WorldPod | undefined {
  if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return undefined;
  // Of the init containers only sidecars still run beside the others.
  const sidecars = (pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const containers = [...(pod.spec?.containers ?? []), ...sidecars];
  const ports = containers.flatMap((container) => container.ports ?? []);
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    uid: pod.metadata.uid,
    node: pod.spec?.nodeName ?? '',
    labels: pod.metadata.labels ?? {},
    addresses: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
    ports: ports.map(
      ({ name, containerPort, protocol }): WorldPort => ({
        name,
        port: containerPort,
        protocol: protocol ?? 'TCP',
      }),
    ),
    hostNetwork: pod.spec?.hostNetwork === true,
    serviceAccount: pod.spec?.serviceAccountName,
  };
}

export function worldNamespace(namespace: Namespace): WorldNamespace {
  return { name: namespace.metadata.name, labels: namespace.metadata.labels ?? {} };
}

export function worldNode(node: Node): WorldNode {
  const all = node.status?.addresses ?? [];
  const addresses = all.filter(({ type }) => type === 'InternalIP').map(({ address }) => address);
  const others = all.map(({ address }) => address).filter((address) => !addresses.includes(address));
  return {
    name: node.metadata.name,
    addresses,
    labels: node.metadata.labels ?? {},
    externalAddresses: others.filter((text) => tryParseAddress(text) !== undefined),
  };
}

export const worldServiceAccount = ({ metadata }: ServiceAccount): WorldServiceAccount => ({
  namespace: metadata.namespace ?? 'default',
  name: metadata.name,
  labels: metadata.labels ?? {},
});

export function worldFromObjects(objects: WorldObjects): World {
  const namespaces = [...objects.namespaces].map(worldNamespace);
  return {
    pods: [...objects.pods].flatMap((pod) => worldPod(pod) ?? []),
    namespaces,
    serviceAccounts: [...(objects.serviceAccounts ?? [])].map(worldServiceAccount),
    surroundings: surroundingsOf(objects.others ?? [], namespaces),
    nodes: [...objects.nodes].map(worldNode),
    policies: [...objects.policies],
    mesh: [...(objects.mesh ?? [])],
    nodeLocal: objects.nodeLocal ?? [],
  };
}
