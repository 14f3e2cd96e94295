/** Who owns whom: metadata.ownerReferences, of which at most one is the controller's. */
import { type Kind, apiVersionOf } from '../api/kinds.ts';
import type { ObjectMeta } from '../api/types.ts';

export type OwnerReference = NonNullable<ObjectMeta['ownerReferences']>[number];

export const controllerOf = (metadata: ObjectMeta): OwnerReference | undefined =>
  metadata.ownerReferences?.find((reference) => reference.controller === true);

export function controllerReference(kind: Kind, owner: ObjectMeta): OwnerReference {
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    name: owner.name,
    uid: owner.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

export type Claim = 'mine' | 'adopt' | 'release' | 'other';

/**
 * What a controller has to do with an object it may own: an object without a controller that it selects is
 * adopted, one of its own that it no longer selects is released.
 */
export function claimOf(owner: ObjectMeta, object: ObjectMeta, selected: boolean): Claim {
  const controller = controllerOf(object);
  if (controller) {
    if (controller.uid !== owner.uid) return 'other';
    return selected || owner.deletionTimestamp ? 'mine' : 'release';
  }
  return selected && !owner.deletionTimestamp && !object.deletionTimestamp ? 'adopt' : 'other';
}

/** A merge patch that makes `owner` the object's controller; fails when the object was replaced meanwhile. */
export const adoptPatch = (kind: Kind, owner: ObjectMeta, object: ObjectMeta): unknown => ({
  metadata: {
    uid: object.uid,
    ownerReferences: [...(object.ownerReferences ?? []), controllerReference(kind, owner)],
    resourceVersion: object.resourceVersion,
  },
});

export const releasePatch = (owner: ObjectMeta, object: ObjectMeta): unknown => ({
  metadata: {
    uid: object.uid,
    ownerReferences: (object.ownerReferences ?? []).filter((reference) => reference.uid !== owner.uid),
    resourceVersion: object.resourceVersion,
  },
});
