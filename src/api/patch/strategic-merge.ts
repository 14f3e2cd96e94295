/**
 * Strategic merge patch: JSON merge patch in which lists of keyed items are merged item by item, and
 * directives say the rest: `$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/<list>`,
 * `$deleteFromPrimitiveList/<list>`.
 */
import { clone, isObject, type Json, type JsonObject, sameJson, setOwn } from '../../lib/json.ts';
import type { Kind } from '../kinds.ts';
import type { ListRule } from '../schema/patch-keys.ts';
import { indexOfItem, inOrder, itemPlace, keyOf, memberAt, type Place, placeOf } from './list-merge.ts';
import { PatchError } from './patch-error.ts';

const PATCH = '$patch';
const RETAIN = '$retainKeys';
const ORDER = '$setElementOrder/';
const DELETE = '$deleteFromPrimitiveList/';

const isDirective = (key: string): boolean =>
  key === PATCH || key === RETAIN || key.startsWith(ORDER) || key.startsWith(DELETE);

/** A new object. @throws PatchError */
export function strategicMerge<T>(kind: Kind, original: T, patch: unknown): T {
  if (!isObject(patch)) throw new PatchError('malformed', 'a strategic merge patch is an object');
  return mergeObject(clone(original) as JsonObject, patch as JsonObject, placeOf(kind), '') as T;
}

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

function mergeObject(original: JsonObject, patch: JsonObject, place: Place, path: string): JsonObject {
  const directive = patch[PATCH];
  if (directive === 'replace') return withoutDirectives(patch) as JsonObject;
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge')
    throw new PatchError(
      'malformed',
      `${path}: $patch must be replace, delete or merge, not ${JSON.stringify(directive)}`,
    );
  const result = retained(original, patch, path);
  for (const [key, value] of Object.entries(patch)) {
    if (isDirective(key)) continue;
    const at = join(path, key);
    const { place: inner, rule } = memberAt(place, key);
    const old = Object.hasOwn(result, key) ? result[key] : undefined;
    if (value === null) delete result[key];
    else
      setOwn(
        result,
        key,
        mergeValue(old, value, inner, rule, { path: at, order: listAt(patch, ORDER + key, at) }),
      );
  }
  deletePrimitives(result, patch, path);
  orderUntouched(result, original, patch, place, path);
  return result;
}

interface Site {
  readonly path: string;
  /** The order that the patch asks for, if it does. */
  readonly order: Json[] | undefined;
}

function mergeValue(
  old: Json | undefined,
  value: Json,
  place: Place,
  rule: ListRule | undefined,
  site: Site,
): Json {
  if (isObject(value)) {
    return mergeObject(isObject(old) ? old : {}, value, place, site.path);
  }
  if (!Array.isArray(value)) return value;
  if (!rule || rule.strategy === 'retainKeys') return withoutDirectives(value);
  const list = Array.isArray(old) ? old : [];
  return rule.key === undefined ? mergeSet(list, value, site) : mergeItems(list, value, place, rule, site);
}

/** Lists without keys are sets. */
function mergeSet(list: Json[], patch: Json[], site: Site): Json[] {
  const merged = [...list];
  for (const value of patch) if (!merged.some((old) => sameJson(old, value))) merged.push(value);
  return site.order ? inOrder(merged, site.order, list, sameJson) : merged;
}

function mergeItems(list: Json[], patch: Json[], place: Place, rule: ListRule, site: Site): Json[] {
  const key = rule.key ?? '';
  const items = patch.map((item) => {
    if (!isObject(item))
      throw new PatchError('malformed', `${site.path}: the items of this list must be objects`);
    return item;
  });
  if (items.some((item) => item[PATCH] === 'replace'))
    return items.filter((item) => item[PATCH] === undefined).map((item) => withoutDirectives(item));
  const merged = [...list];
  for (const item of items) {
    const id = keyOf(item, key, site.path);
    const wanted = site.order?.filter((o) => isObject(o) && sameJson(o[key], id)).length ?? 1;
    const index = indexOfItem(merged, item, rule, wanted);
    const directive = item[PATCH];
    if (directive === 'delete') {
      if (index >= 0) merged.splice(index, 1);
    } else if (directive !== undefined)
      throw new PatchError('malformed', `${site.path}: $patch of an item must be replace or delete`);
    else if (index < 0) merged.push(mergeObject({}, item, itemPlace(place), site.path));
    else
      merged[index] = mergeObject(
        merged[index] as JsonObject,
        item,
        itemPlace(place),
        `${site.path}[${index}]`,
      );
  }
  return site.order ? orderItems(merged, site.order, list, rule, site.path) : merged;
}

function orderItems(merged: Json[], order: Json[], before: Json[], rule: ListRule, path: string): Json[] {
  const key = rule.key ?? '';
  for (const item of order) keyOf(item, key, path);
  return inOrder(merged, order, before, (a, b) => sameJson((a as JsonObject)[key], (b as JsonObject)[key]));
}

/** What `$retainKeys` leaves of the original. */
function retained(original: JsonObject, patch: JsonObject, path: string): JsonObject {
  const keys = listAt(patch, RETAIN, join(path, RETAIN));
  if (!keys) return { ...original };
  const stray = Object.keys(patch).find(
    (key) => !isDirective(key) && patch[key] !== null && !keys.includes(key),
  );
  if (stray !== undefined)
    throw new PatchError('malformed', `${path}: "${stray}" is in the patch, but not in its $retainKeys`);
  return Object.fromEntries(Object.entries(original).filter(([key]) => keys.includes(key)));
}

function deletePrimitives(result: JsonObject, patch: JsonObject, path: string): void {
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(DELETE)) continue;
    const gone = listAt(patch, key, join(path, key)) ?? [];
    const name = key.slice(DELETE.length);
    const list = result[name];
    // What the same patch adds stays.
    const added = Array.isArray(patch[name]) ? patch[name] : [];
    const dropped = (value: Json) =>
      gone.some((g) => sameJson(g, value)) && !added.some((a) => sameJson(a, value));
    if (Array.isArray(list)) result[name] = list.filter((value) => !dropped(value));
  }
}

/** An order may be asked for of a list that the patch changes in nothing else. */
function orderUntouched(
  result: JsonObject,
  original: JsonObject,
  patch: JsonObject,
  place: Place,
  path: string,
): void {
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(ORDER)) continue;
    const name = key.slice(ORDER.length);
    const order = listAt(patch, key, join(path, key)) ?? [];
    const list = result[name];
    if (Object.hasOwn(patch, name) || !Array.isArray(list)) continue;
    const { rule } = memberAt(place, name);
    const before = Array.isArray(original[name]) ? original[name] : [];
    if (rule?.key !== undefined) result[name] = orderItems(list, order, before, rule, join(path, name));
    else if (rule) result[name] = inOrder(list, order, before, sameJson);
  }
}

function listAt(patch: JsonObject, key: string, path: string): Json[] | undefined {
  const value = Object.hasOwn(patch, key) ? patch[key] : undefined;
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw new PatchError('malformed', `${path}: expected a list`);
  return value;
}

/** The value alone: directives and nulls in objects are for merging. */
function withoutDirectives(value: Json): Json {
  if (Array.isArray(value))
    return value.filter((item) => !isObject(item) || !Object.hasOwn(item, PATCH)).map(withoutDirectives);
  if (!isObject(value)) return value;
  const result: JsonObject = {};
  for (const [key, member] of Object.entries(value))
    if (!isDirective(key) && member !== null) setOwn(result, key, withoutDirectives(member));
  return result;
}
