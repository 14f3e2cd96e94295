/** What a ReplicaSet's pods say is to be done. Pure. */
import { compileOptionalSelector } from '../api/selector.ts';
import type { Pod, ReplicaSet } from '../api/types.ts';
import { withCondition, withoutCondition } from './conditions.ts';
import { claimOf } from './owner.ts';
import {
  DELETION_COST,
  isActive,
  isFinished,
  isReady,
  isTerminating,
  readySince,
  untilAvailable,
} from './pods.ts';

export interface ReplicaSetPlan {
  adopt: Pod[];
  release: Pod[];
  /** Pods to make. */
  create: number;
  /** In the order to delete them. */
  remove: Pod[];
  /** Milliseconds until a ready pod becomes available, or pods may be made again, by time alone. */
  again: number | undefined;
  /** Of the pods as they are now, adopted ones included. */
  status: NonNullable<ReplicaSet['status']>;
}

/** Pods made or deleted in one go, as in Kubernetes. */
const BURST = 500;

export interface ReplicaSetView {
  replicaSet: ReplicaSet;
  /** Pods of the namespace that it controls or that nobody does. */
  pods: readonly Pod[];
  /** Uids of pods that were deleted, but that the copy does not show so yet. */
  deleted: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  now: number;
}

export function planReplicaSet({ replicaSet, pods, deleted, now }: ReplicaSetView): ReplicaSetPlan {
  const selects = compileOptionalSelector(replicaSet.spec?.selector);
  const claims = Map.groupBy(pods, (pod) =>
    claimOf(replicaSet.metadata, pod.metadata, selects(pod.metadata.labels)),
  );
  const adopt = (claims.get('adopt') ?? []).filter((pod) => !isFinished(pod));
  const mine = [...(claims.get('mine') ?? []), ...adopt].filter(
    (pod) => !deleted.has(pod.metadata.uid ?? ''),
  );
  const active = mine.filter(isActive);
  const wanted = replicaSet.spec?.replicas ?? 1;
  const ending = replicaSet.metadata.deletionTimestamp !== undefined;
  const missing = ending ? 0 : Math.min(BURST, Math.max(0, wanted - active.length));
  const surplus = ending ? 0 : Math.min(BURST, Math.max(0, active.length - wanted));
  const minReady = replicaSet.spec?.minReadySeconds ?? 0;
  const waits = active.map((pod) => untilAvailable(pod, minReady, now)).filter((ms) => ms !== undefined);
  const later = waits.filter((ms) => ms > 0);
  const rest = missing > 0 ? restAfterFailures(mine, now) : 0;
  const times = [...later, ...(rest > 0 ? [rest] : [])];
  return {
    adopt,
    release: claims.get('release') ?? [],
    create: rest > 0 ? 0 : missing,
    remove: surplus > 0 ? rankForDeletion(active).slice(0, surplus) : [],
    again: times.length > 0 ? Math.min(...times) : undefined,
    status: {
      replicas: active.length,
      fullyLabeledReplicas: active.filter((pod) => hasLabels(pod, replicaSet)).length,
      readyReplicas: active.filter(isReady).length,
      availableReplicas: waits.length - later.length,
      terminatingReplicas: mine.filter(isTerminating).length,
      observedGeneration: replicaSet.metadata.generation,
    },
  };
}

/** Pods that may fail one right after the other. */
const FAILURES = 5;
const LONGEST_REST = 60_000;

/**
 * Milliseconds until the next is made. A template that names a node without room for it fails as soon as it is made, and
 * would fill the store with pods that have failed.
 */
function restAfterFailures(mine: readonly Pod[], now: number): number {
  const failed = mine.filter(
    ({ status, metadata }) => status?.phase === 'Failed' && !metadata.deletionTimestamp,
  );
  if (failed.length < FAILURES) return 0;
  const youngest = Math.max(
    ...failed.map(({ metadata }) => Date.parse(metadata.creationTimestamp ?? '') || 0),
  );
  const rest = Math.min(LONGEST_REST, 1000 * 2 ** Math.min(20, failed.length - FAILURES));
  return Math.max(0, youngest + rest - now);
}

function hasLabels(pod: Pod, { spec }: ReplicaSet): boolean {
  const wanted = Object.entries(spec?.template?.metadata?.labels ?? {});
  return wanted.every(([key, value]) => pod.metadata.labels?.[key] === value);
}

const PHASES: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

/**
 * The least useful first, as Kubernetes ranks them: unassigned, not running, not ready, cheap by annotation,
 * many on one node, lately ready, young.
 */
export function rankForDeletion(pods: readonly Pod[]): Pod[] {
  const perNode = Map.groupBy(pods, (pod) => pod.spec?.nodeName ?? '');
  const ranked = pods.map((pod) => ({
    pod,
    rank: [
      pod.spec?.nodeName ? 1 : 0,
      PHASES[pod.status?.phase ?? 'Pending'] ?? 0,
      isReady(pod) ? 1 : 0,
      Number(pod.metadata.annotations?.[DELETION_COST] ?? 0) || 0,
      -(perNode.get(pod.spec?.nodeName ?? '')?.length ?? 0),
      -(readySince(pod) ?? 0),
      -Date.parse(pod.metadata.creationTimestamp ?? '1970-01-01T00:00:00Z'),
    ],
  }));
  const byRank = (a: (typeof ranked)[number], b: (typeof ranked)[number]): number => {
    for (const [i, value] of a.rank.entries()) if (value !== b.rank[i]) return value - b.rank[i]!;
    return a.pod.metadata.name < b.pod.metadata.name ? -1 : 1;
  };
  return ranked.sort(byRank).map(({ pod }) => pod);
}

/** The status to write, or undefined when the stored one says the same. `failure`: why pods could not be made. */
export function replicaSetStatus(
  replicaSet: ReplicaSet,
  computed: ReplicaSetPlan['status'],
  failure: { reason: string; message: string } | undefined,
  now: string,
): ReplicaSet['status'] | undefined {
  const before = replicaSet.status;
  const old = before?.conditions;
  const conditions = failure
    ? withCondition(old, { type: 'ReplicaFailure', status: 'True', ...failure }, now)
    : withoutCondition(old, 'ReplicaFailure');
  const same =
    before !== undefined &&
    NUMBERS.every((key) => (before[key] ?? 0) === (computed[key] ?? 0)) &&
    (old ?? []).length === conditions.length &&
    (conditions.length === 0 || conditions === old);
  if (same) return undefined;
  return { ...computed, ...(conditions.length > 0 ? { conditions } : {}) };
}

const NUMBERS = [
  'replicas',
  'fullyLabeledReplicas',
  'readyReplicas',
  'availableReplicas',
  'terminatingReplicas',
  'observedGeneration',
] as const;
