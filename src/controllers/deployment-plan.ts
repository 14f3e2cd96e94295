/** The next step of a Deployment. Pure: one step at a time, the ReplicaSets' answers bring the next. */
import type { Deployment, ReplicaSet } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { type Scale, boundsOf, nextNewReplicas, scaleInProportion, shrinkOld } from './deployment-scale.ts';
import {
  annotationsFor,
  availableOf,
  byAge,
  DESIRED,
  findNew,
  newRevision,
  replicaSetFrom,
  replicasOf,
  REVISION,
  revisionOf,
  sizeAnnotations,
} from './deployment-sets.ts';
import { type DeploymentStatus, deploymentStatus, isComplete } from './deployment-status.ts';

export interface DeploymentView {
  deployment: Deployment;
  /** Those that it controls. */
  sets: readonly ReplicaSet[];
  /** Whether pods of a ReplicaSet still exist, terminating ones included. */
  hasPods(set: ReplicaSet): boolean;
  /** Milliseconds since 1970. */
  now: number;
}

export interface DeploymentPlan {
  create: ReplicaSet | undefined;
  /** With what is to be changed in them. */
  update: ReplicaSet[];
  remove: ReplicaSet[];
  /** The deployment's own revision annotation, when it is to change. */
  revision: string | undefined;
  /** When it is to change. */
  status: DeploymentStatus | undefined;
  /** Milliseconds until the rollout may have taken too long. */
  again: number | undefined;
}

export function planDeployment(view: DeploymentView): DeploymentPlan {
  const { deployment, sets, now } = view;
  const fresh = findNew(deployment, sets);
  const old = sets.filter((set) => set !== fresh);
  const step = deployment.metadata.deletionTimestamp ? {} : nextStep(view, fresh, old);
  const { status, again } = deploymentStatus({ deployment, fresh: fresh ?? step.create, all: sets, now });
  const complete = fresh !== undefined && isComplete(deployment, status);
  const revision = revisionWanted(deployment, fresh ?? step.create, step.update);
  return {
    create: step.create,
    update: step.update ?? [],
    remove: complete && !deployment.metadata.deletionTimestamp ? surplusHistory(deployment, old) : [],
    revision: revision === deployment.metadata.annotations?.[REVISION] ? undefined : revision,
    status: sameJson(status, deployment.status) ? undefined : status,
    again,
  };
}

type Step = Partial<Pick<DeploymentPlan, 'create' | 'update'>>;

function nextStep(view: DeploymentView, fresh: ReplicaSet | undefined, old: readonly ReplicaSet[]): Step {
  const { deployment, sets } = view;
  if (deployment.spec?.paused) return { update: resized(deployment, sets, scaleTo(deployment, sets, fresh)) };
  const scale = isScaling(deployment, sets) ? scaleTo(deployment, sets, fresh) : undefined;
  if (scale) return { update: edited(view, fresh, old, scale, true) };
  if (!fresh) {
    const recreate = deployment.spec?.strategy?.type === 'Recreate';
    if (recreate && !isClear(view, old)) return { update: resized(deployment, sets, toZero(old)) };
    const size = nextNewReplicas(deployment, 0, sets);
    const max = replicasOf(deployment) + boundsOf(deployment).surge;
    return { create: replicaSetFrom(deployment, size, newRevision(undefined, old), max) };
  }
  return { update: edited(view, fresh, old, rollOut(view, fresh, old), false) };
}

/** One side at a time: the new grows, or the old ones shrink. */
function rollOut(view: DeploymentView, fresh: ReplicaSet, old: readonly ReplicaSet[]): Scale {
  const { deployment, sets } = view;
  if (deployment.spec?.strategy?.type === 'Recreate' && !isClear(view, old)) return toZero(old);
  const size = nextNewReplicas(deployment, replicasOf(fresh), sets);
  if (size !== replicasOf(fresh)) return new Map([[fresh.metadata.name, size]]);
  return shrinkOld(deployment, fresh, old);
}

const isClear = (view: DeploymentView, old: readonly ReplicaSet[]): boolean =>
  old.every((set) => replicasOf(set) === 0 && !view.hasPods(set));

const toZero = (sets: readonly ReplicaSet[]): Scale =>
  new Map(sets.filter((set) => replicasOf(set) > 0).map((set) => [set.metadata.name, 0]));

/** Whether the desired number changed since the ReplicaSets were last told it. */
const isScaling = (deployment: Deployment, sets: readonly ReplicaSet[]): boolean =>
  sets.some((set) => {
    const told = set.metadata.annotations?.[DESIRED];
    return replicasOf(set) > 0 && told !== undefined && told !== String(replicasOf(deployment));
  });

function scaleTo(deployment: Deployment, sets: readonly ReplicaSet[], fresh: ReplicaSet | undefined): Scale {
  if (!isScaling(deployment, sets)) return new Map();
  const saturated =
    fresh && replicasOf(fresh) === replicasOf(deployment) && availableOf(fresh) === replicasOf(fresh);
  if (saturated) return toZero(sets.filter((set) => set !== fresh));
  return scaleInProportion(deployment, sets);
}

/** ReplicaSets with their new sizes, and what they are told of the whole. */
function resized(deployment: Deployment, sets: readonly ReplicaSet[], scale: Scale): ReplicaSet[] {
  return sets.flatMap((set) => {
    const replicas = scale.get(set.metadata.name) ?? replicasOf(set);
    return changed(set, { ...set.metadata.annotations, ...told(deployment, set, replicas) }, replicas);
  });
}

function told(deployment: Deployment, set: ReplicaSet, replicas: number): Record<string, string> {
  if (replicas === 0 && replicasOf(set) === 0) return {};
  return sizeAnnotations(replicasOf(deployment), replicasOf(deployment) + boundsOf(deployment).surge);
}

function edited(
  view: DeploymentView,
  fresh: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
  scale: Scale,
  tellAll: boolean,
): ReplicaSet[] {
  const { deployment } = view;
  const others = tellAll ? old : old.filter((set) => scale.has(set.metadata.name));
  const updates = resized(deployment, others, scale);
  if (!fresh) return updates;
  const replicas = scale.get(fresh.metadata.name) ?? replicasOf(fresh);
  const annotations = {
    ...annotationsFor(deployment, fresh, newRevision(fresh, old)),
    ...told(deployment, fresh, replicas),
  };
  const { minReadySeconds } = deployment.spec ?? {};
  return [...updates, ...changed(fresh, annotations, replicas, minReadySeconds)];
}

function changed(
  set: ReplicaSet,
  annotations: Record<string, string>,
  replicas: number,
  minReadySeconds: number | undefined = set.spec?.minReadySeconds,
): ReplicaSet[] {
  const same =
    replicas === replicasOf(set) &&
    (minReadySeconds ?? 0) === (set.spec?.minReadySeconds ?? 0) &&
    sameJson(annotations, set.metadata.annotations ?? {});
  if (same) return [];
  return [
    { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec!, replicas, minReadySeconds } },
  ];
}

/** Old ReplicaSets without pods beyond the history that is kept, the oldest revisions. */
function surplusHistory(deployment: Deployment, old: readonly ReplicaSet[]): ReplicaSet[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  const done = old.filter(
    (set) =>
      replicasOf(set) === 0 &&
      (set.status?.replicas ?? 0) === 0 &&
      (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 0) &&
      !set.metadata.deletionTimestamp,
  );
  const ordered = done.sort((a, b) => revisionOf(a) - revisionOf(b) || byAge(a, b));
  return ordered.slice(0, Math.max(0, old.length - limit));
}

function revisionWanted(
  deployment: Deployment,
  fresh: ReplicaSet | undefined,
  update: readonly ReplicaSet[] = [],
): string | undefined {
  const next = update.find((set) => set.metadata.name === fresh?.metadata.name) ?? fresh;
  return next?.metadata.annotations?.[REVISION] ?? deployment.metadata.annotations?.[REVISION];
}
