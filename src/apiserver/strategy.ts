/** What the server decides about an object before it is stored: identity, times, generation, status. */
import { randomInt, randomUUID } from 'node:crypto';
import { type Kind, NAMESPACE, NODE } from '../api/kinds.ts';
import type { Resource } from '../api/resource.ts';
import type { KubeObject, ObjectMeta } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { badRequest } from './failure.ts';
import { ordered } from './objects.ts';

/** Kinds whose `metadata.generation` counts the changes of what users ask for. */
const COUNTED = new Set(['Deployment', 'ReplicaSet', 'NetworkPolicy', 'EndpointSlice', 'Pod']);

/** In a cluster of Kubernetes, kinds of other groups are custom resources; of those it counts for all. */
const BUILT_IN = new Set([
  '',
  'apps',
  'coordination.k8s.io',
  'discovery.k8s.io',
  'events.k8s.io',
  'networking.k8s.io',
]);

const isCounted = ({ kind, group }: Kind): boolean => !BUILT_IN.has(group) || COUNTED.has(kind);

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';
const SUFFIX = 5;
const MAX_GENERATED = 63;

export function generateName(base: string): string {
  const suffix = Array.from({ length: SUFFIX }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return base.slice(0, MAX_GENERATED - SUFFIX) + suffix;
}

/** RFC 3339 in whole seconds, as Kubernetes' Time. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');

/** @throws ApiFailure 400 */
export function prepareCreate(
  resource: Resource,
  object: KubeObject,
  namespace: string,
  now: number,
): KubeObject {
  const given = object.metadata;
  if (given.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  const {
    selfLink: _l,
    managedFields: _m,
    deletionTimestamp: _d,
    deletionGracePeriodSeconds: _g,
    ...rest
  } = given;
  const metadata: ObjectMeta = {
    ...rest,
    uid: randomUUID(),
    creationTimestamp: timeText(now),
    ...(resource.kind.namespaced ? { namespace } : {}),
  };
  delete metadata.generation;
  if (isCounted(resource.kind)) metadata.generation = 1;
  const next: KubeObject = { ...object, metadata };
  // A node reports its own status from the first write on.
  if (resource.hasStatus && resource.kind !== NODE) delete next['status'];
  return ordered(resource.kind, resource.applyDefaults(next));
}

/** `next` as the client wants it; what is not the client's to change is taken from `before`. */
export function prepareUpdate(
  resource: Resource,
  next: KubeObject,
  before: KubeObject,
  subresource: string,
): KubeObject {
  const metadata = updatedMetadata(next.metadata, before.metadata);
  let object: KubeObject = { ...next, metadata };
  if (subresource === 'status') object = { ...before, status: next['status'] };
  else if (subresource === 'ephemeralcontainers') object = withEphemeralContainers(before, next);
  else if (subresource === 'finalize') object = { ...before, spec: next['spec'] };
  else if (resource.hasStatus && subresource !== 'binding') {
    if (before['status'] === undefined) delete object['status'];
    else object['status'] = before['status'];
    // Content is what holds the namespace: only /finalize may let it go.
    if (resource.kind === NAMESPACE) object['spec'] = before['spec'];
  }
  object = ordered(resource.kind, resource.applyDefaults(resource.prepareUpdate(object, before)));
  if (isCounted(resource.kind) && !sameJson(content(object), content(before)))
    object.metadata = { ...object.metadata, generation: (before.metadata.generation ?? 0) + 1 };
  return object;
}

function withEphemeralContainers(before: KubeObject, next: KubeObject): KubeObject {
  const { ephemeralContainers } = (next['spec'] ?? {}) as { ephemeralContainers?: unknown };
  const { ephemeralContainers: _e, ...rest } = (before['spec'] ?? {}) as { ephemeralContainers?: unknown };
  return { ...before, spec: ephemeralContainers === undefined ? rest : { ...rest, ephemeralContainers } };
}

function updatedMetadata(next: ObjectMeta, before: ObjectMeta): ObjectMeta {
  const { selfLink: _l, managedFields: _m, ...rest } = next;
  return {
    ...rest,
    namespace: rest.namespace ?? before.namespace,
    uid: rest.uid ?? before.uid,
    generateName: rest.generateName ?? before.generateName,
    creationTimestamp: before.creationTimestamp,
    resourceVersion: before.resourceVersion,
    generation: before.generation,
    deletionTimestamp: before.deletionTimestamp,
    deletionGracePeriodSeconds: before.deletionGracePeriodSeconds,
  };
}

const content = ({ metadata: _m, status: _s, kind: _k, apiVersion: _a, ...rest }: KubeObject) => rest;

/** Whether nothing holds an object that is being deleted any longer. */
export function isReleased(kind: Kind, object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  if (!deletionTimestamp || (finalizers?.length ?? 0) > 0) return false;
  if (kind === NAMESPACE && ((object['spec'] as { finalizers?: string[] })?.finalizers?.length ?? 0) > 0)
    return false;
  return (deletionGracePeriodSeconds ?? 0) === 0;
}
