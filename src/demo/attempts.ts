/** What the demo tries: every pair of workloads, on every port that the destination offers, over both families. */
import { serviceOf } from '../api/labels.ts';
import { tryParseAddress } from '../lib/ip.ts';
import type { EndpointSlice, Pod, ReplicaSet, Service } from '../api/types.ts';

export type Protocol = 'TCP' | 'UDP';

export interface DemoPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly ports: readonly { port: number; protocol: Protocol }[];
}

export interface Workload {
  /** `namespace/name` of the pods' owner: a Deployment's, or the pod's own. */
  readonly key: string;
  readonly namespace: string;
  readonly pods: readonly DemoPod[];
}

/** A pod that may answer an attempt, and the port on which it would. */
export interface Backend {
  readonly pod: DemoPod;
  readonly address: string;
  readonly port: number;
}

/** One way to reach a workload: a service's port, or a port of a pod that no service offers. */
interface Target {
  /** A service's DNS name, or a pod's address. */
  readonly host: string;
  /** How a user would say it: `catalog.shop`, or the pod's name. */
  readonly label: string;
  readonly family: 4 | 6;
  readonly port: number;
  readonly protocol: Protocol;
  readonly backends: readonly Backend[];
}

export interface Attempt extends Target {
  /** `host` is an address outside of the cluster, where perhaps nobody answers. */
  readonly outside?: boolean;
  readonly from: Workload;
  readonly to: Workload;
  readonly source: DemoPod;
}

export interface ClusterObjects {
  readonly pods: readonly Pod[];
  readonly replicaSets: readonly ReplicaSet[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
}

const nameOf = (meta: { namespace?: string; name: string }): string => `${meta.namespace ?? ''}/${meta.name}`;

function ownerOf(pod: Pod, replicaSets: ReadonlyMap<string, ReplicaSet>): string {
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller);
  if (!owner) return nameOf(pod.metadata);
  const namespace = pod.metadata.namespace ?? '';
  const set = owner.kind === 'ReplicaSet' ? replicaSets.get(`${namespace}/${owner.name}`) : undefined;
  const deployment = set?.metadata.ownerReferences?.find((reference) => reference.controller);
  return `${namespace}/${deployment?.name ?? owner.name}`;
}

function demoPod(pod: Pod): DemoPod {
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  return {
    namespace: pod.metadata.namespace ?? '',
    name: pod.metadata.name,
    node: pod.spec?.nodeName ?? '',
    addresses: (pod.status?.podIPs ?? []).map(({ ip }) => ip),
    ports: ports
      .filter(({ protocol }) => protocol !== 'SCTP')
      .map(({ containerPort, protocol }) => ({
        port: containerPort,
        protocol: protocol === 'UDP' ? 'UDP' : 'TCP',
      })),
  };
}

const isReady = (pod: Pod): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  (pod.status?.conditions ?? []).some(({ type, status }) => type === 'Ready' && status === 'True');

/** Ready pods by their owner, in order of name. */
export function workloads(objects: Pick<ClusterObjects, 'pods' | 'replicaSets'>): Workload[] {
  const replicaSets = new Map(objects.replicaSets.map((set) => [nameOf(set.metadata), set]));
  const byOwner = Map.groupBy(objects.pods.filter(isReady), (pod) => ownerOf(pod, replicaSets));
  return [...byOwner]
    .map(([key, pods]) => ({ key, namespace: key.split('/')[0] ?? '', pods: pods.map(demoPod) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function serviceTargets(
  objects: ClusterObjects,
  podByAddress: ReadonlyMap<string, DemoPod>,
  clusterDomain: string,
): Target[] {
  const slicesOf = Map.groupBy(objects.slices, serviceOf);
  return objects.services.flatMap((service) => {
    const headless = service.spec?.clusterIP === 'None';
    const slices = slicesOf.get(nameOf(service.metadata)) ?? [];
    return (service.spec?.ports ?? []).flatMap((servicePort) =>
      ([4, 6] as const).flatMap((family) => {
        const backends = backendsOf(slices, family, servicePort.name ?? '', podByAddress);
        const protocol = servicePort.protocol ?? 'TCP';
        const port = headless ? backends[0]?.port : servicePort.port;
        if (port === undefined || backends.length === 0 || protocol === 'SCTP') return [];
        const label = `${service.metadata.name}.${service.metadata.namespace ?? ''}`;
        return [{ host: `${label}.svc.${clusterDomain}`, label, family, port, protocol, backends }];
      }),
    );
  });
}

function backendsOf(
  slices: readonly EndpointSlice[],
  family: 4 | 6,
  portName: string,
  podByAddress: ReadonlyMap<string, DemoPod>,
): Backend[] {
  return slices
    .filter((slice) => slice.addressType === (family === 4 ? 'IPv4' : 'IPv6'))
    .flatMap((slice) => {
      const port = slice.ports?.find(({ name }) => (name ?? '') === portName)?.port;
      const ready = (slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
      return ready.flatMap(({ addresses }) => {
        const address = addresses[0];
        const pod = address === undefined ? undefined : podByAddress.get(address);
        return pod && address !== undefined && port !== undefined ? [{ pod, address, port }] : [];
      });
    });
}

function podTargets(pod: DemoPod, label: string): Target[] {
  return pod.addresses.flatMap((address) =>
    pod.ports.map(({ port, protocol }) => ({
      host: address,
      label,
      family: tryParseAddress(address)?.family ?? 4,
      port,
      protocol,
      backends: [{ pod, address, port }],
    })),
  );
}

/** Sources take turns among a workload's pods, so that both the node's own and other nodes' pods are reached. */
const turn = <T>(items: readonly T[], n: number): T | undefined => items[n % items.length];

/**
 * A service draws one of its pods, so what one pod's kernel does could stay unseen: where there are several, every
 * pod of both workloads is tried by its address too. A workload's own pods try each other, not themselves.
 */
function replicaAttempts(from: Workload, to: Workload): Attempt[] {
  const count = Math.max(from.pods.length, to.pods.length);
  const shift = from === to ? 1 : 0;
  return Array.from({ length: count }).flatMap((_, n) => {
    const [source, pod] = [turn(from.pods, n), turn(to.pods, n + shift)];
    if (!source || !pod) return [];
    return podTargets(pod, `each pod of ${to.key.split('/')[1] ?? ''}`).map((target) => ({
      ...target,
      from,
      to,
      source,
    }));
  });
}

/** Every attempt of the demo, grouped by pair. */
export function attempts(objects: ClusterObjects, clusterDomain: string): Attempt[] {
  const all = workloads(objects);
  const podByAddress = new Map(
    all.flatMap(({ pods }) => pods.flatMap((pod) => pod.addresses.map((address) => [address, pod] as const))),
  );
  const services = serviceTargets(objects, podByAddress, clusterDomain);
  const offered = new Set(
    services.flatMap(({ protocol, backends }) =>
      backends.map(({ address, port }) => `${address} ${protocol} ${port}`),
    ),
  );
  const targetsOf = new Map(
    all.map((workload) => {
      const own = new Set(workload.pods);
      const viaService = services.filter(({ backends }) => backends.some(({ pod }) => own.has(pod)));
      const [pod] = workload.pods;
      const direct = (pod ? podTargets(pod, pod.name) : []).filter(
        ({ host, protocol, port }) => !offered.has(`${host} ${protocol} ${port}`),
      );
      return [workload, { viaService, direct }] as const;
    }),
  );
  return all.flatMap((from, i) =>
    all.flatMap((to, j) => {
      const { viaService = [], direct = [] } = targetsOf.get(to) ?? {};
      const several = from.pods.length > 1 || to.pods.length > 1;
      const chosen = [...viaService, ...(several ? [] : direct)].flatMap((target, k) => {
        const source = turn(from.pods, i + j + k);
        return source ? [{ ...target, from, to, source }] : [];
      });
      return [...chosen, ...(several ? replicaAttempts(from, to) : [])];
    }),
  );
}
