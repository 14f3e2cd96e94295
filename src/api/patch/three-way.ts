/**
 * What `apply` makes of three objects: the manifest applied last, the manifest now, and the object as it is.
 * What the manifest says is set, what it no longer says is removed, everything else stays.
 */
import { clone, isObject, type Json, type JsonObject, sameJson, setOwn } from '../../lib/json.ts';
import type { Kind } from '../kinds.ts';
import type { ListRule } from '../schema/patch-keys.ts';
import { indexOfItem, inOrder, itemPlace, memberAt, type Place, placeOf } from './list-merge.ts';

/** A new object; `last` is undefined when the object was never applied. */
export function threeWayMerge<T>(kind: Kind, last: unknown, manifest: unknown, live: T): T {
  return mergeObject(asObject(last), asObject(manifest), asObject(live), placeOf(kind)) as T;
}

const asObject = (value: unknown): JsonObject => (isObject(value) ? (value as JsonObject) : {});
const asList = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);

function mergeObject(last: JsonObject, manifest: JsonObject, live: JsonObject, place: Place): JsonObject {
  const result = clone(live);
  for (const key of Object.keys(last)) if (!Object.hasOwn(manifest, key)) delete result[key];
  for (const [key, value] of Object.entries(manifest)) {
    if (value === null) {
      delete result[key];
      continue;
    }
    const { place: inner, rule } = memberAt(place, key);
    if (isObject(value))
      setOwn(
        result,
        key,
        mergeObject(asObject(last[key]), asObject(value), liveFor(rule, value, result[key]), inner),
      );
    else if (Array.isArray(value) && rule && Array.isArray(result[key]))
      setOwn(result, key, mergeList(asList(last[key]), value, asList(result[key]), inner, rule));
    else setOwn(result, key, clone(value));
  }
  return result;
}

/** With retainKeys, what the manifest does not name goes, whoever set it: the fields exclude each other. */
function liveFor(rule: ListRule | undefined, manifest: Json, live: Json | undefined): JsonObject {
  const object = asObject(live);
  if (!rule?.strategy.includes('retainKeys')) return object;
  const named = asObject(manifest);
  return Object.fromEntries(Object.entries(object).filter(([key]) => Object.hasOwn(named, key)));
}

function mergeList(last: Json[], manifest: Json[], live: Json[], place: Place, rule: ListRule): Json[] {
  if (rule.key === undefined) {
    const kept = live.filter(
      (v) => !last.some((l) => sameJson(l, v)) || manifest.some((m) => sameJson(m, v)),
    );
    const merged = [...kept, ...manifest.filter((m) => !kept.some((k) => sameJson(k, m)))];
    return inOrder(merged, manifest, live, sameJson);
  }
  const { key } = rule;
  const named = (list: readonly Json[], item: Json): number =>
    list.filter((other) => sameJson(asObject(other)[key], asObject(item)[key])).length;
  const find = (list: readonly Json[], item: Json, told: readonly Json[]): number =>
    indexOfItem(list, asObject(item), rule, named(told, item));
  const merged = live
    .filter((item) => find(last, item, live) < 0 || find(manifest, item, live) >= 0)
    .map((item) => clone(item));
  for (const item of manifest) {
    const index = find(merged, item, manifest);
    const before = asObject(last[find(last, item, manifest)]);
    const current = liveFor(rule, item, index < 0 ? undefined : merged[index]);
    const value = mergeObject(before, asObject(item), current, itemPlace(place));
    if (index < 0) merged.push(value);
    else merged[index] = value;
  }
  const told = (item: Json) => (rule.mapKeys ?? [key]).every((k) => asObject(item)[k] !== undefined);
  const keys = [...merged, ...manifest].every(told) ? (rule.mapKeys ?? [key]) : [key];
  const same = (a: Json, b: Json) => keys.every((k) => sameJson(asObject(a)[k], asObject(b)[k]));
  return inOrder(merged, manifest, live, same);
}
