import { clone, isObject, type Json, setOwn } from '../../lib/json.ts';
/** JSON merge patch, RFC 7396. */

/** A new value; neither argument is changed. Null members of the patch delete. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) return clone(patch);
  const result: Record<string, Json> = isObject(target) ? { ...(target as Record<string, Json>) } : {};
  for (const [key, value] of Object.entries(patch as Record<string, Json>)) {
    if (value === null) delete result[key];
    else setOwn(result, key, mergePatch(Object.hasOwn(result, key) ? (result[key] ?? null) : null, value));
  }
  return result;
}

/** The least merge patch that turns `before` into `after`; what JSON merge patch cannot say (null members) aside. */
export function createMergePatch(before: Json, after: Json): Json {
  if (!isObject(before) || !isObject(after)) return clone(after);
  const from = before as Record<string, Json>;
  const to = after as Record<string, Json>;
  const patch: Record<string, Json> = {};
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) setOwn(patch, key, null);
  for (const [key, value] of Object.entries(to)) {
    const old = Object.hasOwn(from, key) ? from[key] : undefined;
    if (old !== undefined && JSON.stringify(old) === JSON.stringify(value)) continue;
    if (isObject(old) && isObject(value)) {
      const inner = createMergePatch(old, value);
      if (Object.keys(inner as object).length > 0) setOwn(patch, key, inner);
    } else setOwn(patch, key, clone(value));
  }
  return patch;
}
