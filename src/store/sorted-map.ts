/** Entries by key, kept in key order: lists need no sorting. */
import type { Entry } from './types.ts';

export interface SortedMap {
  readonly size: number;
  get(key: string): Entry | undefined;
  set(entry: Entry): void;
  delete(key: string): void;
  /** Those whose key starts with `prefix`, in order. */
  startingWith(prefix: string): Entry[];
}

export function createSortedMap(): SortedMap {
  const entries = new Map<string, Entry>();
  const keys: string[] = [];
  return {
    get size() {
      return entries.size;
    },
    get: (key) => entries.get(key),
    set(entry) {
      if (!entries.has(entry.key)) {
        // Loading comes in any order; appending is the common case for generated names.
        const at = lowerBound(keys, entry.key);
        if (at === keys.length) keys.push(entry.key);
        else keys.splice(at, 0, entry.key);
      }
      entries.set(entry.key, entry);
    },
    delete(key) {
      if (!entries.delete(key)) return;
      keys.splice(lowerBound(keys, key), 1);
    },
    startingWith(prefix) {
      const found: Entry[] = [];
      for (let i = lowerBound(keys, prefix); i < keys.length; i++) {
        const key = keys[i]!;
        if (!key.startsWith(prefix)) break;
        found.push(entries.get(key)!);
      }
      return found;
    },
  };
}

/** Index of the first key that is not less than `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
