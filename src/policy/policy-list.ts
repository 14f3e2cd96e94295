/** The policies of a world, and how they differ from those of the world before. */
import type { Policy } from './model.ts';
import {
  kindOf,
  lowerPolicies,
  namespaceOf,
  objectKey,
  type PolicyObject,
  READS_SURROUNDINGS,
} from './objects.ts';
import type { PolicyDifference } from './roles.ts';
import { namespaceStages } from './scene.ts';
import type { Stage } from './stage.ts';
import type { Surroundings, World, WorldNamespace } from './world.ts';

export const sameItems = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a === b || (a.length === b.length && a.every((item, i) => item === b[i]));

/** What has come and gone since the last call. Of objects with the same name the last counts. */
export function createPolicyList() {
  let last: readonly PolicyObject[] = [];
  let namespaces: readonly WorldNamespace[] = [];
  let stages: ReadonlyMap<string, Stage> = new Map();
  let surroundings: Surroundings = {};
  const byKey = new Map<string, Known>();
  const stageOf = (object: PolicyObject): Stage | undefined => stages.get(namespaceOf(object));
  const known = (object: PolicyObject): Known => {
    const stage = stageOf(object);
    return { object, stage, policies: lowerPolicies(object, stage, surroundings) };
  };

  /** By far the most frequent: some objects have a new version, the list is as it was. */
  function replaced(objects: readonly PolicyObject[]): PolicyDifference | undefined {
    if (objects.length !== last.length || byKey.size !== last.length) return undefined;
    const places: number[] = [];
    for (let i = 0; i < objects.length; i++) if (objects[i] !== last[i]) places.push(i);
    if (places.some((i) => objectKey(objects[i]!) !== objectKey(last[i]!))) return undefined;
    const gone = places.flatMap((i) => byKey.get(objectKey(last[i]!))!.policies);
    for (const i of places) byKey.set(objectKey(objects[i]!), known(objects[i]!));
    return { gone, come: places.flatMap((i) => byKey.get(objectKey(objects[i]!))!.policies) };
  }

  function compared(objects: readonly PolicyObject[], isSurrounded: boolean): PolicyDifference {
    const wanted = new Map(objects.map((object) => [objectKey(object), object]));
    const gone = [...byKey].filter(
      ([key, { object, stage }]) =>
        wanted.get(key) !== object ||
        stageOf(object) !== stage ||
        (isSurrounded && READS_SURROUNDINGS.has(kindOf(object))),
    );
    for (const [key] of gone) byKey.delete(key);
    const come = [...wanted]
      .filter(([key]) => !byKey.has(key))
      .map(([key, object]) => [key, known(object)] as const);
    for (const [key, each] of come) byKey.set(key, each);
    return {
      gone: gone.flatMap(([, { policies }]) => policies),
      come: come.flatMap(([, { policies }]) => policies),
    };
  }

  return {
    /** Stages of namespaces are those of the policies in them. */
    update(
      objects: readonly PolicyObject[],
      within: readonly WorldNamespace[],
      around: World['surroundings'] = {},
    ): PolicyDifference {
      const staged = within === namespaces ? stages : namespaceStages(within);
      const sameStages = sameMap(staged, stages);
      namespaces = within;
      stages = staged;
      const isSurrounded = !sameSurroundings(surroundings, around);
      surroundings = around;
      if (last === objects && sameStages && !isSurrounded) return { gone: [], come: [] };
      const small = sameStages && !isSurrounded ? replaced(objects) : undefined;
      const difference = small ?? compared(objects, isSurrounded);
      last = objects;
      return difference;
    },
  };
}

interface Known {
  readonly object: PolicyObject;
  /** Of its namespace. */
  readonly stage: Stage | undefined;
  readonly policies: readonly Policy[];
}

const sameMap = <K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean =>
  a === b || (a.size === b.size && [...a].every(([key, value]) => b.get(key) === value));

const sameSurroundings = (a: Surroundings, b: Surroundings): boolean =>
  a === b ||
  (sameItems(a.tiers ?? [], b.tiers ?? []) &&
    sameItems(a.services ?? [], b.services ?? []) &&
    sameItems(a.addressSets ?? [], b.addressSets ?? []));
