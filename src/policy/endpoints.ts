/** The addresses of the compiled pods with their tables, and which roles those pods have. */
import type { createRoles } from './assign-roles.ts';
import { SharingMap } from '../lib/sharing-map.ts';
import type { Role } from './build-table.ts';
import type { Direction } from './decision.ts';
import { addressTexts, type PodDifference } from './pod-directory.ts';
import type { Places } from './scene.ts';
import type { PolicyEndpoint } from './tables.ts';
import { podKey, type WorldPod } from './world.ts';

type Roles = ReturnType<typeof createRoles>;

export interface EndpointChange {
  readonly places: Places;
  /** Undefined: all may differ. */
  readonly pods: PodDifference | undefined;
  /** Pods that may have other roles than before. */
  readonly touched: ReadonlySet<WorldPod>;
  readonly onlyNode: string | undefined;
}

export interface CompiledPods {
  /** The very same map as before where nothing has changed. */
  readonly endpoints: ReadonlyMap<string, PolicyEndpoint>;
  readonly roles: RoleDifference;
}

/** The roles of the compiled pods, and how they differ from those of before. */
export interface RoleDifference {
  all(): Iterable<Role>;
  readonly gone: readonly Role[];
  readonly come: readonly Role[];
  /** Of its table. */
  number(role: Role): number;
  /** Grows when a number that was given may be another one now. */
  readonly epoch: number;
}

const DIRECTIONS = ['ingress', 'egress'] as const;

export function createEndpoints(roles: Roles): (change: EndpointChange) => CompiledPods {
  let endpoints = SharingMap.of<string, PolicyEndpoint>();
  /** How many compiled pods have it. */
  const counts = new Map<Role, number>();
  const counted = new Map<WorldPod, readonly Role[]>();
  /** Of those that this change has touched: whether any pod had it. */
  const before = new Map<Role, boolean>();
  let node: string | undefined;
  let epoch = roles.epoch();

  const isCompiled = (pod: WorldPod): boolean => node === undefined || pod.node === node;
  const tableOf = (pod: WorldPod, direction: Direction): number => {
    const role = roles.roleOf(pod, direction);
    return role ? roles.number(role) : 0;
  };
  const endpointOf = (pod: WorldPod): PolicyEndpoint => ({
    ingress: tableOf(pod, 'ingress'),
    egress: tableOf(pod, 'egress'),
    pod: podKey(pod),
    node: pod.node,
  });

  function note(role: Role): void {
    if (!before.has(role)) before.set(role, counts.has(role));
  }
  function uncount(pod: WorldPod): void {
    for (const role of counted.get(pod) ?? []) {
      note(role);
      const count = counts.get(role)! - 1;
      if (count > 0) counts.set(role, count);
      else counts.delete(role);
    }
    counted.delete(pod);
  }
  function count(pod: WorldPod): void {
    const own = DIRECTIONS.flatMap((direction) => roles.roleOf(pod, direction) ?? []);
    for (const role of own) {
      note(role);
      counts.set(role, (counts.get(role) ?? 0) + 1);
    }
    counted.set(pod, own);
  }

  function all({ pods, podAt }: Places): void {
    for (const role of counts.keys()) note(role);
    counts.clear();
    counted.clear();
    const list: [string, PolicyEndpoint][] = [];
    for (const pod of pods) {
      if (!isCompiled(pod)) continue;
      count(pod);
      const endpoint = endpointOf(pod);
      for (const address of addressTexts(pod)) if (podAt(address) === pod) list.push([address, endpoint]);
    }
    endpoints = SharingMap.of(list);
  }

  function some(places: Places, pods: PodDifference, touched: ReadonlySet<WorldPod>): void {
    const addresses = new Set(pods.addresses);
    for (const pod of new Set([...touched, ...pods.gone, ...pods.come])) {
      uncount(pod);
      if (!isCompiled(pod) || places.pod(podKey(pod)) !== pod) continue;
      count(pod);
      for (const address of addressTexts(pod)) addresses.add(address);
    }
    endpoints = endpoints.with(
      Iterator.from(addresses).map((address) => {
        const owner = ownerOf(places, address);
        return [address, owner && same(endpoints.get(address), endpointOf(owner))];
      }),
    );
  }
  function ownerOf(places: Places, address: string): WorldPod | undefined {
    const owner = places.podAt(address);
    return owner && isCompiled(owner) ? owner : undefined;
  }

  return ({ places, pods, touched, onlyNode }) => {
    const isSame = onlyNode === node && roles.epoch() === epoch;
    node = onlyNode;
    epoch = roles.epoch();
    if (isSame && pods) some(places, pods, touched);
    else all(places);
    const differing = [...before].filter(([role, was]) => was !== counts.has(role));
    before.clear();
    const gone = differing.flatMap(([role, was]) => (was ? [role] : []));
    const come = differing.flatMap(([role, was]) => (was ? [] : [role]));
    return { endpoints, roles: { all: () => counts.keys(), gone, come, number: roles.number, epoch } };
  };
}

/** The object of before, if it says the same. */
const same = (was: PolicyEndpoint | undefined, is: PolicyEndpoint): PolicyEndpoint =>
  was?.ingress === is.ingress && was.egress === is.egress && was.pod === is.pod && was.node === is.node
    ? was
    : is;
