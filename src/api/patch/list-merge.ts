/** Lists whose items have a key: what they are made of, which item is which, and their order. */
import { isObject, type Json, type JsonObject, sameJson } from '../../lib/json.ts';
import type { Kind } from '../kinds.ts';
import { rootName } from '../schema/generate.ts';
import { definitionOf } from '../schema/load.ts';
import type { FieldType } from '../schema/model.ts';
import { type ListRule, listRule } from '../schema/patch-keys.ts';
import { PatchError } from './patch-error.ts';

/** Where in the kinds' fields a value stands; undefined where the schema ends. */
export type Place = FieldType | undefined;

export const placeOf = (kind: Kind): Place => ({ r: rootName(kind) });

export interface Member {
  readonly place: Place;
  readonly rule: ListRule | undefined;
}

/** The member `key` of an object at `place`. */
export function memberAt(place: Place, key: string): Member {
  if (typeof place !== 'object') return { place: undefined, rule: undefined };
  if ('m' in place) return { place: place.m, rule: undefined };
  if (!('r' in place)) return { place: undefined, rule: undefined };
  const fields = definitionOf(place.r)?.p ?? {};
  return {
    place: Object.hasOwn(fields, key) ? fields[key]?.[0] : undefined,
    rule: listRule(place.r, key),
  };
}

export const itemPlace = (place: Place): Place =>
  typeof place === 'object' && 'a' in place ? place.a : undefined;

/** @throws PatchError when the item lacks the key that tells it from others */
export function keyOf(item: Json, key: string, path: string): Json {
  const value = isObject(item) && Object.hasOwn(item, key) ? item[key] : undefined;
  if (value === undefined || value === null)
    throw new PatchError(
      'malformed',
      `${path}: an item has no "${key}", which tells the items of this list apart`,
    );
  return value;
}

/** What a key means that is not there: manifests leave it out, objects of the server have it. */
const ABSENT: Readonly<Record<string, Json>> = { protocol: 'TCP' };

/**
 * Index in `list` of the item that `item` means, or -1. The merge key alone does not tell apart what the map
 * keys do (port 53 of TCP and of UDP): an item that agrees in all of them wins; one that agrees in the merge
 * key alone is meant only if the list is not told (`expected`) to hold more items of that key than it does.
 */
export function indexOfItem(list: readonly Json[], item: JsonObject, rule: ListRule, expected = 1): number {
  const key = rule.key ?? '';
  const agrees = (other: Json, keys: readonly string[]): boolean =>
    isObject(other) && keys.every((k) => sameJson(other[k] ?? ABSENT[k], item[k] ?? ABSENT[k]));
  const keys = rule.mapKeys ?? [key];
  const exact = list.findIndex((other) => agrees(other, keys));
  if (exact >= 0 || keys.length === 1) return exact;
  const loose = list.flatMap((other, i) => (agrees(other, [key]) ? [i] : []));
  const told = keys.every((k) => item[k] !== undefined);
  return told && expected > loose.length ? -1 : (loose[0] ?? -1);
}

/**
 * The order of a merged list, given the order that the patch asks for and the one that the server had: items
 * the patch names stand in its order; the others keep their place before those that they stood before.
 */
export function inOrder(
  merged: readonly Json[],
  wanted: readonly Json[],
  before: readonly Json[],
  same: (a: Json, b: Json) => boolean,
): Json[] {
  const rank = (list: readonly Json[], item: Json): number => list.findIndex((other) => same(other, item));
  const rest = [...merged];
  const named: Json[] = [];
  // Taking items out one by one keeps several that share a key.
  for (const want of wanted) {
    const i = rank(rest, want);
    if (i >= 0) named.push(...rest.splice(i, 1));
  }
  const others = rest.sort((a, b) => rank(before, a) - rank(before, b));
  const result: Json[] = [];
  while (others.length > 0 && named.length > 0) {
    const [other, name] = [others[0] as Json, named[0] as Json];
    const [left, right] = [rank(before, other), rank(before, name)];
    result.push((left >= 0 && right >= 0 && left < right ? others.shift() : named.shift()) as Json);
  }
  return [...result, ...others, ...named];
}
