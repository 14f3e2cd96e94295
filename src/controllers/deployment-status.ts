/** What a Deployment's status says of its ReplicaSets. Pure; read by `kubectl rollout status`. */
import type { Deployment, ReplicaSet } from '../api/types.ts';
import { type Condition, withCondition, withoutCondition } from './conditions.ts';
import { boundsOf } from './deployment-scale.ts';
import { availableOf, replicasOf, total } from './deployment-sets.ts';
import { timestamp } from './loop.ts';

export type DeploymentStatus = NonNullable<Deployment['status']>;

export interface StatusView {
  deployment: Deployment;
  fresh: ReplicaSet | undefined;
  all: readonly ReplicaSet[];
  /** Milliseconds since 1970. */
  now: number;
}

/** Kubernetes' way to say "no deadline". */
const NO_DEADLINE = 2 ** 31 - 1;

const counted = (set: ReplicaSet): number => set.status?.replicas ?? 0;

export function deploymentStatus(view: StatusView): { status: DeploymentStatus; again: number | undefined } {
  const { deployment, fresh, all } = view;
  const available = total(all, availableOf);
  const status: DeploymentStatus = {
    observedGeneration: deployment.metadata.generation,
    replicas: total(all, counted),
    updatedReplicas: fresh ? counted(fresh) : 0,
    readyReplicas: total(all, (set) => set.status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, total(all, replicasOf) - available),
    terminatingReplicas: total(all, (set) => set.status?.terminatingReplicas ?? 0),
    collisionCount: deployment.status?.collisionCount,
  };
  const { conditions, again } = conditionsOf(view, status);
  return { status: { ...status, conditions }, again };
}

export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = replicasOf(deployment);
  return (
    status.updatedReplicas === wanted && status.replicas === wanted && status.availableReplicas === wanted
  );
}

function conditionsOf(view: StatusView, status: DeploymentStatus) {
  const { deployment, all, now } = view;
  const old = deployment.status?.conditions;
  const enough = (status.availableReplicas ?? 0) >= replicasOf(deployment) - boundsOf(deployment).unavailable;
  const at = timestamp(now);
  let conditions = withCondition(
    old,
    {
      type: 'Available',
      status: enough ? 'True' : 'False',
      reason: enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
      message: `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
      lastUpdateTime: at,
    },
    at,
  );
  const failure = all
    .flatMap((set) => (set.status?.conditions ?? []) as Condition[])
    .find((one) => one.type === 'ReplicaFailure' && one.status === 'True');
  conditions = failure
    ? withCondition(conditions, { ...failure, lastUpdateTime: at }, at)
    : withoutCondition(conditions, 'ReplicaFailure');
  return withProgress(view, status, conditions);
}

interface Progress {
  status: string;
  reason: string;
  message: string;
  /** Progress was made now, though the words are the same. */
  touch?: boolean;
}

function withProgress(view: StatusView, status: DeploymentStatus, conditions: Condition[]) {
  const { deployment, now } = view;
  const deadline = deployment.spec?.progressDeadlineSeconds ?? 600;
  if (deadline >= NO_DEADLINE)
    return { conditions: withoutCondition(conditions, 'Progressing'), again: undefined };
  const before = conditions.find((one) => one.type === 'Progressing');
  const end = Date.parse(before?.lastUpdateTime ?? timestamp(now)) + deadline * 1000;
  const next = progressOf(view, status, before, now >= end);
  const running = !isComplete(deployment, status) && !deployment.spec?.paused && next?.status !== 'False';
  const again = running ? Math.max(1000, end - now + 1000) : undefined;
  if (!next) return { conditions, again };
  const at = timestamp(now);
  const { touch, ...words } = next;
  const condition = { type: 'Progressing', ...words, lastUpdateTime: at };
  const updated = withCondition(conditions, condition, at);
  const same = updated === conditions && touch;
  return {
    conditions: same
      ? conditions.map((one) => (one === before ? { ...one, lastUpdateTime: at } : one))
      : updated,
    again,
  };
}

/** Undefined: the condition stays as it is. */
function progressOf(
  { deployment, fresh }: StatusView,
  status: DeploymentStatus,
  before: Condition | undefined,
  late: boolean,
): Progress | undefined {
  if (deployment.spec?.paused)
    return { status: 'Unknown', reason: 'DeploymentPaused', message: 'Deployment is paused' };
  const name = fresh ? `ReplicaSet "${fresh.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
  if (fresh && isComplete(deployment, status))
    return {
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: `${name} has successfully progressed.`,
    };
  if (!before || before.reason === 'DeploymentPaused' || hasProgressed(deployment.status, status))
    return { status: 'True', reason: 'ReplicaSetUpdated', message: `${name} is progressing.`, touch: true };
  // A finished rollout that lost a pod is no rollout: its clock is not running.
  if (late && before.reason !== 'NewReplicaSetAvailable')
    return {
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: `${name} has timed out progressing.`,
    };
  return undefined;
}

function hasProgressed(before: DeploymentStatus | undefined, now: DeploymentStatus): boolean {
  const number = (
    status: DeploymentStatus | undefined,
    key: 'updatedReplicas' | 'readyReplicas' | 'availableReplicas' | 'replicas',
  ) => status?.[key] ?? 0;
  const old = (status: DeploymentStatus | undefined) =>
    number(status, 'replicas') - number(status, 'updatedReplicas');
  return (
    before?.observedGeneration !== now.observedGeneration ||
    old(now) < old(before) ||
    (['updatedReplicas', 'readyReplicas', 'availableReplicas'] as const).some(
      (key) => number(now, key) > number(before, key),
    )
  );
}
