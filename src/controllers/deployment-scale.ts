/** How many replicas each ReplicaSet of a Deployment is to have next. Pure: the arithmetic of a rollout. */
import type { Deployment, ReplicaSet } from '../api/types.ts';
import { availableOf, byAge, MAX, replicasOf, total } from './deployment-sets.ts';
import { resolveIntOrPercent } from './int-or-percent.ts';

export interface Bounds {
  /** Pods above and below the desired number that a rollout may have. */
  surge: number;
  unavailable: number;
}

export function boundsOf(deployment: Deployment): Bounds {
  const wanted = replicasOf(deployment);
  const { strategy } = deployment.spec ?? {};
  if (strategy?.type === 'Recreate') return { surge: 0, unavailable: wanted };
  const rolling = strategy?.rollingUpdate;
  const surge = resolveIntOrPercent(rolling?.maxSurge ?? '25%', wanted, 'up');
  const unavailable = resolveIntOrPercent(rolling?.maxUnavailable ?? '25%', wanted, 'down');
  // Both zero (of small percentages) would never get anywhere.
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : Math.min(unavailable, wanted) };
}

/** By name of the ReplicaSet; only those whose number changes. */
export type Scale = Map<string, number>;

/** Pods it has or is about to have: one that shrinks has more until it says otherwise. */
const podsOf = (set: ReplicaSet): number => Math.max(replicasOf(set), set.status?.replicas ?? 0);

/** Of the new ReplicaSet in a rolling update; `all` includes it. */
export function nextNewReplicas(deployment: Deployment, current: number, all: readonly ReplicaSet[]): number {
  const wanted = replicasOf(deployment);
  if (deployment.spec?.strategy?.type === 'Recreate') return wanted;
  if (current >= wanted) return wanted;
  const room = wanted + boundsOf(deployment).surge - total(all, podsOf);
  return room <= 0 ? current : Math.min(wanted, current + room);
}

/**
 * Old ReplicaSets shrink as the new one's pods become available: first by what was never available, then by
 * what `maxUnavailable` allows.
 */
export function shrinkOld(deployment: Deployment, fresh: ReplicaSet, old: readonly ReplicaSet[]): Scale {
  const all = [...old, fresh];
  const least = replicasOf(deployment) - boundsOf(deployment).unavailable;
  const newUnavailable = Math.max(0, replicasOf(fresh) - availableOf(fresh));
  const scale: Scale = new Map();
  const left = (set: ReplicaSet) => scale.get(set.metadata.name) ?? replicasOf(set);
  const shrink = (set: ReplicaSet, by: number): number => {
    const step = Math.max(0, Math.min(left(set), by));
    if (step > 0) scale.set(set.metadata.name, left(set) - step);
    return step;
  };
  let unhealthyBudget = total(all, replicasOf) - least - newUnavailable;
  const ordered = [...old].sort(byAge);
  for (const set of ordered) {
    const unhealthy = replicasOf(set) - Math.min(replicasOf(set), availableOf(set));
    unhealthyBudget -= shrink(set, Math.min(unhealthyBudget, unhealthy));
  }
  // A ReplicaSet that has not looked yet may still count pods that it is about to delete.
  let healthyBudget = total(all, (set) => Math.min(left(set), availableOf(set))) - least;
  healthyBudget = Math.min(healthyBudget, total(all, left) - least - newUnavailable);
  for (const set of ordered) healthyBudget -= shrink(set, healthyBudget);
  return scale;
}

/**
 * When the desired number itself changed amid a rollout, every ReplicaSet with pods gets its share of the
 * difference, so that a rollout that hangs keeps its proportions.
 */
export function scaleInProportion(deployment: Deployment, all: readonly ReplicaSet[]): Scale {
  const active = all.filter((set) => replicasOf(set) > 0).sort(byAge);
  const wanted = replicasOf(deployment);
  const scale: Scale = new Map();
  const set = (one: ReplicaSet, replicas: number) => {
    if (replicas !== replicasOf(one)) scale.set(one.metadata.name, replicas);
  };
  const only = active.length === 1 ? active[0] : undefined;
  if (only) {
    set(only, wanted);
    return scale;
  }
  const now = total(active, replicasOf);
  const goal = wanted === 0 ? 0 : wanted + boundsOf(deployment).surge;
  let rest = goal - now;
  // The largest first when growing, the oldest first when shrinking.
  const order = [...active].sort((a, b) =>
    rest > 0 ? replicasOf(b) - replicasOf(a) || -byAge(a, b) : byAge(a, b),
  );
  const shares = new Map(order.map((one) => [one, replicasOf(one)] as const));
  for (const one of order) {
    const before = Number(one.metadata.annotations?.[MAX] ?? 0) || now;
    const share = Math.round((replicasOf(one) * goal) / before) - replicasOf(one);
    const step = rest > 0 ? Math.min(rest, Math.max(0, share)) : Math.max(rest, Math.min(0, share));
    shares.set(one, replicasOf(one) + step);
    rest -= step;
  }
  // What rounding left goes to the first.
  for (const one of order) {
    const next = Math.max(0, (shares.get(one) ?? 0) + rest);
    rest -= next - (shares.get(one) ?? 0);
    set(one, next);
  }
  return scale;
}
