/** The addresses of the compiled pods with their tables, and which roles those pods have. */
import type { createRoles } from './assign-roles.ts';
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
  /** By table number; the very same map as before where nothing has changed. */
  readonly roles: ReadonlyMap<number, Role>;
}

const DIRECTIONS = ['ingress', 'egress'] as const;

export function createEndpoints(roles: Roles): (change: EndpointChange) => CompiledPods {
  let endpoints = new Map<string, PolicyEndpoint>();
  /** How many compiled pods have it. */
  const counts = new Map<Role, number>();
  const counted = new Map<WorldPod, readonly Role[]>();
  /** Undefined: a role has come or gone. */
  let byNumber: ReadonlyMap<number, Role> | undefined;
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

  function uncount(pod: WorldPod): void {
    for (const role of counted.get(pod) ?? []) {
      const count = counts.get(role)! - 1;
      if (count > 0) {
        counts.set(role, count);
        continue;
      }
      counts.delete(role);
      byNumber = undefined;
    }
    counted.delete(pod);
  }
  function count(pod: WorldPod): void {
    const own = DIRECTIONS.flatMap((direction) => roles.roleOf(pod, direction) ?? []);
    for (const role of own) {
      const count = counts.get(role) ?? 0;
      counts.set(role, count + 1);
      if (count === 0) byNumber = undefined;
    }
    counted.set(pod, own);
  }

  function all({ pods, podAt }: Places): void {
    byNumber = undefined;
    counts.clear();
    counted.clear();
    endpoints = new Map();
    for (const pod of pods) {
      if (!isCompiled(pod)) continue;
      count(pod);
      const endpoint = endpointOf(pod);
      for (const address of addressTexts(pod)) if (podAt(address) === pod) endpoints.set(address, endpoint);
    }
  }

  function some(places: Places, pods: PodDifference, touched: ReadonlySet<WorldPod>): void {
    const addresses = new Set(pods.addresses);
    for (const pod of new Set([...touched, ...pods.gone, ...pods.come])) {
      uncount(pod);
      if (!isCompiled(pod) || places.pod(podKey(pod)) !== pod) continue;
      count(pod);
      for (const address of addressTexts(pod)) addresses.add(address);
    }
    const next = new Map([...addresses].map((address) => [address, ownerOf(places, address)]));
    for (const [address, owner] of next) if (!owner && !endpoints.has(address)) next.delete(address);
    if (next.size === 0) return;
    // What was given is not changed any more.
    endpoints = new Map(endpoints);
    for (const [address, owner] of next) {
      if (owner) endpoints.set(address, endpointOf(owner));
      else endpoints.delete(address);
    }
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
    byNumber ??= new Map([...counts.keys()].map((role) => [roles.number(role), role]));
    return { endpoints, roles: byNumber };
  };
}
