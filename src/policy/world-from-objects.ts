/** Makes a World of API objects, as an agent's informers or a directory of files have them. */
import type { Namespace, NetworkPolicy, Node, Pod } from '../api/types.ts';
import type { World, WorldNamespace, WorldNode, WorldPod, WorldPort } from './world.ts';

export interface WorldObjects {
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
  readonly nodes: readonly Node[];
  readonly policies: readonly NetworkPolicy[];
  /** Cluster DNS addresses, which each node answers itself. */
  readonly nodeLocal?: readonly string[];
}

export function worldFromObjects(objects: WorldObjects): World {
  return {
    pods: objects.pods.filter(hasNotEnded).map(worldPod),
    namespaces: objects.namespaces.map(worldNamespace),
    nodes: objects.nodes.map(worldNode),
    policies: objects.policies,
    nodeLocal: objects.nodeLocal ?? [],
  };
}

/** The address of a pod that has ended may already be another's. */
export const hasNotEnded = ({ status }: Pod): boolean =>
  status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

export function worldPod({ metadata, spec, status }: Pod): WorldPod {
  const addresses = (status?.podIPs ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
  return {
    namespace: metadata.namespace ?? 'default',
    name: metadata.name,
    node: spec?.nodeName ?? '',
    labels: metadata.labels ?? {},
    addresses: addresses.length > 0 ? addresses : status?.podIP ? [status.podIP] : [],
    ports: portsOf(spec),
    hostNetwork: spec?.hostNetwork === true,
  };
}

/** Of all containers that run beside each other: init containers only if they are sidecars. */
function portsOf(spec: Pod['spec']): WorldPort[] {
  const sidecars = (spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars].flatMap((container) =>
    (container.ports ?? []).map((port) => ({
      name: port.name,
      port: port.containerPort,
      protocol: port.protocol ?? 'TCP',
    })),
  );
}

export const worldNamespace = ({ metadata }: Namespace): WorldNamespace => ({
  name: metadata.name,
  labels: metadata.labels ?? {},
});

export const worldNode = ({ metadata, status }: Node): WorldNode => ({
  name: metadata.name,
  addresses: (status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
    .map(({ address }) => address),
});
