/** The policies of a world, and how they differ from those of the world before. */
import type { NetworkPolicy } from '../api/types.ts';
import { lowerNetworkPolicy } from './language/network-policy.ts';
import type { Policy } from './model.ts';
import type { PolicyDifference } from './roles.ts';
import { objectKey } from './scene.ts';

export const sameItems = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a === b || (a.length === b.length && a.every((item, i) => item === b[i]));

/** What has come and gone since the last call. Of objects with the same name the last counts. */
export function createPolicyList() {
  let last: readonly NetworkPolicy[] = [];
  const byKey = new Map<string, Known>();

  /** By far the most frequent: some objects have a new version, the list is as it was. */
  function replaced(objects: readonly NetworkPolicy[]): PolicyDifference | undefined {
    if (objects.length !== last.length || byKey.size !== last.length) return undefined;
    const places: number[] = [];
    for (let i = 0; i < objects.length; i++) if (objects[i] !== last[i]) places.push(i);
    if (places.some((i) => objectKey(objects[i]!) !== objectKey(last[i]!))) return undefined;
    const gone = places.map((i) => byKey.get(objectKey(last[i]!))!.policy);
    for (const i of places) byKey.set(objectKey(objects[i]!), known(objects[i]!));
    return { gone, come: places.map((i) => byKey.get(objectKey(objects[i]!))!.policy) };
  }

  function compared(objects: readonly NetworkPolicy[]): PolicyDifference {
    const wanted = new Map(objects.map((object) => [objectKey(object), object]));
    const gone = [...byKey].filter(([key, { object }]) => wanted.get(key) !== object);
    for (const [key] of gone) byKey.delete(key);
    const come = [...wanted]
      .filter(([key]) => !byKey.has(key))
      .map(([key, object]) => [key, known(object)] as const);
    for (const [key, each] of come) byKey.set(key, each);
    return { gone: gone.map(([, { policy }]) => policy), come: come.map(([, { policy }]) => policy) };
  }

  return {
    update(objects: readonly NetworkPolicy[]): PolicyDifference {
      if (last === objects) return { gone: [], come: [] };
      const difference = replaced(objects) ?? compared(objects);
      last = objects;
      return difference;
    },
  };
}

interface Known {
  readonly object: NetworkPolicy;
  readonly policy: Policy;
}

const known = (object: NetworkPolicy): Known => ({ object, policy: lowerNetworkPolicy(object) });
