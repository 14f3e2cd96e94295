/** Which ReplicaSet of a Deployment is the one of its present template, and the revisions of them all. Pure. */
import { DEPLOYMENT, REPLICA_SET } from '../api/kinds.ts';
import { LAST_APPLIED } from '../api/labels.ts';
import type { Deployment, ObjectMeta, ReplicaSet } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { contentHash } from './names.ts';
import { controllerReference } from './owner.ts';

export const REVISION = 'deployment.kubernetes.io/revision';
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
export const DESIRED = 'deployment.kubernetes.io/desired-replicas';
export const MAX = 'deployment.kubernetes.io/max-replicas';
const HASH = 'pod-template-hash';

/** Annotations that belong to one object and are not handed on to the ReplicaSets. */
const OWN = new Set([
  LAST_APPLIED,
  REVISION,
  REVISION_HISTORY,
  DESIRED,
  MAX,
  'deprecated.deployment.rollback.to',
]);

type Template = NonNullable<Deployment['spec']>['template'];

function withoutHash(template: Template | undefined): unknown {
  const { [HASH]: _, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels, creationTimestamp: undefined } };
}

export const sameTemplate = (a: Template | undefined, b: Template | undefined): boolean =>
  sameJson(withoutHash(a), withoutHash(b));

export const byAge = (a: { metadata: ObjectMeta }, b: { metadata: ObjectMeta }): number =>
  (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
  (a.metadata.name < b.metadata.name ? -1 : 1);

/** The oldest of those with the deployment's template. */
export const findNew = (deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined =>
  [...sets].sort(byAge).find((set) => sameTemplate(set.spec?.template, deployment.spec?.template));

export const revisionOf = ({ metadata }: { metadata: ObjectMeta }): number =>
  Number(metadata.annotations?.[REVISION] ?? 0) || 0;

export const replicasOf = ({ spec }: ReplicaSet | Deployment): number => spec?.replicas ?? 1;

export const total = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number): number =>
  sets.reduce((sum, set) => sum + of(set), 0);

export const availableOf = ({ status }: ReplicaSet): number => status?.availableReplicas ?? 0;

/** Above every old one; what it was, when it is above them already. */
export function newRevision(fresh: ReplicaSet | undefined, old: readonly ReplicaSet[]): number {
  const highest = Math.max(0, ...old.map(revisionOf));
  const own = fresh ? revisionOf(fresh) : 0;
  return own > highest ? own : highest + 1;
}

/** Annotations that the new ReplicaSet is to have; its own stay. */
export function annotationsFor(
  deployment: Deployment,
  before: ReplicaSet | undefined,
  revision: number,
): Record<string, string> {
  const handedOn = Object.entries(deployment.metadata.annotations ?? {}).filter(([key]) => !OWN.has(key));
  const result: Record<string, string> = { ...before?.metadata.annotations, ...Object.fromEntries(handedOn) };
  const old = before?.metadata.annotations?.[REVISION];
  if (old !== undefined && old !== String(revision)) {
    const history = result[REVISION_HISTORY];
    result[REVISION_HISTORY] = history ? `${history},${old}` : old;
  }
  result[REVISION] = String(revision);
  return result;
}

export const sizeAnnotations = (desired: number, max: number): Record<string, string> => ({
  [DESIRED]: String(desired),
  [MAX]: String(max),
});

/** The ReplicaSet of the present template, with no more in it than can be said before its size is known. */
export function replicaSetFrom(
  deployment: Deployment,
  replicas: number,
  revision: number,
  max: number,
): ReplicaSet {
  const { metadata, spec } = deployment;
  const hash = contentHash([withoutHash(spec?.template), deployment.status?.collisionCount ?? 0]);
  const template = spec?.template;
  const labels = { ...template?.metadata?.labels, [HASH]: hash };
  return {
    apiVersion: 'apps/v1',
    kind: REPLICA_SET.kind as 'ReplicaSet',
    metadata: {
      name: `${metadata.name}-${hash}`,
      namespace: metadata.namespace,
      labels,
      annotations: {
        ...annotationsFor(deployment, undefined, revision),
        ...sizeAnnotations(replicasOf(deployment), max),
      },
      ownerReferences: [controllerReference(DEPLOYMENT, metadata)],
    },
    spec: {
      replicas,
      minReadySeconds: spec?.minReadySeconds,
      selector: {
        ...spec?.selector,
        matchLabels: { ...spec?.selector.matchLabels, [HASH]: hash },
      },
      template: { ...template, metadata: { ...template?.metadata, labels } },
    },
  };
}
