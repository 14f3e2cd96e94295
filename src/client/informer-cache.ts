/**
 * The objects an informer holds: what was kept of each, its revision, indexes that follow, and change
 * notices gathered per key until the end of the turn.
 */
import type { ObjectMeta } from '../api/types.ts';

export type ChangeListener<T> = (key: string, now: T | undefined, before: T | undefined) => void;

/** Values that an object is found under in one index. */
export type IndexFn<T> = (value: T) => readonly string[];
/** What is indexed under a value, sorted by key. */
export type IndexLookup<T> = (value: string) => readonly T[];

interface Entry<T> {
  value: T;
  revision: string;
}

export interface Cache<T> {
  get(key: string): T | undefined;
  revisionOf(key: string): string | undefined;
  /** Sorted by key; the array is shared and must not be changed. */
  list(): readonly T[];
  keys(): IterableIterator<string>;
  set(key: string, value: T, revision: string): void;
  delete(key: string): void;
  byIndex(name: string, fn: IndexFn<T>): IndexLookup<T>;
  /** The listener is told at once of all that is there. */
  onChange(listener: ChangeListener<T>): () => void;
  /** Tells the listeners now what they were going to be told at the end of the turn. */
  flush(): void;
}

/** `namespace/name`, or the name of what has no namespace. */
export const keyOf = (metadata: ObjectMeta): string =>
  metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;

/** The two parts of `keyOf`. */
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Changes after which a list is sorted anew. */
const MAX_UNLISTED = 64;

interface Index<T> {
  add(key: string, value: T): void;
  remove(key: string, value: T): void;
  lookup: IndexLookup<T>;
}

/** Sorted by key. Most have one entry, and there are as many as there are objects: two short arrays are small. */
interface Bucket<T> {
  readonly keys: string[];
  values: T[];
  /** Somebody was given `values`: the next change is made to a copy. */
  isShared: boolean;
}

function createIndex<T>(fn: IndexFn<T>): Index<T> {
  const buckets = new Map<string, Bucket<T>>();

  return {
    add(key, value) {
      for (const at of fn(value)) {
        const bucket = buckets.get(at);
        if (bucket) put(bucket, key, value);
        else buckets.set(at, { keys: [key], values: [value], isShared: false });
      }
    },
    remove(key, value) {
      for (const at of fn(value)) {
        const bucket = buckets.get(at);
        if (!bucket) continue;
        take(bucket, key);
        if (bucket.keys.length === 0) buckets.delete(at);
      }
    },
    lookup(at) {
      const bucket = buckets.get(at);
      if (!bucket) return [];
      bucket.isShared = true;
      return bucket.values;
    },
  };
}

function put<T>(bucket: Bucket<T>, key: string, value: T): void {
  const place = placeOf(bucket.keys, key);
  const isThere = bucket.keys[place] === key;
  if (!isThere) bucket.keys.splice(place, 0, key);
  own(bucket).splice(place, isThere ? 1 : 0, value);
}

function take<T>(bucket: Bucket<T>, key: string): void {
  const place = placeOf(bucket.keys, key);
  if (bucket.keys[place] !== key) return;
  bucket.keys.splice(place, 1);
  own(bucket).splice(place, 1);
}

function own<T>(bucket: Bucket<T>): T[] {
  if (bucket.isShared) bucket.values = [...bucket.values];
  bucket.isShared = false;
  return bucket.values;
}

function bucketOf<T>(entries: ReadonlyMap<string, Entry<T>>): Bucket<T> {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    keys: sorted.map(([key]) => key),
    values: sorted.map(([, { value }]) => value),
    isShared: false,
  };
}

/** Index of the first key that is not less. */
function placeOf(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] ?? '') < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `later` runs its argument at the end of the turn. */
export function createCache<T>(later: (fn: () => void) => void = setImmediate): Cache<T> {
  const entries = new Map<string, Entry<T>>();
  const indexes = new Map<string, Index<T>>();
  const listeners = new Set<ChangeListener<T>>();
  let pending = new Map<string, T | undefined>();
  /** From the first `list` on, unless so much changes between two that sorting is cheaper. */
  let all: Bucket<T> | undefined;
  let unlisted = 0;

  function flush(): void {
    const changes = pending;
    pending = new Map();
    for (const [key, before] of changes) {
      const now = entries.get(key)?.value;
      if (now === undefined && before === undefined) continue;
      for (const listener of listeners) listener(key, now, before);
    }
  }

  /** The list as it is kept, if it still is. */
  function kept(): Bucket<T> | undefined {
    if (++unlisted > MAX_UNLISTED) all = undefined;
    return all;
  }

  function changed(key: string, before: T | undefined): void {
    if (listeners.size === 0) return;
    if (pending.size === 0) later(flush);
    if (!pending.has(key)) pending.set(key, before);
  }

  return {
    get: (key) => entries.get(key)?.value,
    revisionOf: (key) => entries.get(key)?.revision,
    keys: () => entries.keys(),
    list() {
      all ??= bucketOf(entries);
      unlisted = 0;
      all.isShared = true;
      return all.values;
    },
    set(key, value, revision) {
      const before = entries.get(key);
      if (before && before.revision === revision) return;
      for (const index of indexes.values()) {
        if (before) index.remove(key, before.value);
        index.add(key, value);
      }
      entries.set(key, { value, revision });
      const list = kept();
      if (list) put(list, key, value);
      changed(key, before?.value);
    },
    delete(key) {
      const before = entries.get(key);
      if (!before) return;
      for (const index of indexes.values()) index.remove(key, before.value);
      entries.delete(key);
      const list = kept();
      if (list) take(list, key);
      changed(key, before.value);
    },
    byIndex(name, fn) {
      const known = indexes.get(name);
      if (known) return known.lookup;
      const index = createIndex(fn);
      for (const [key, entry] of entries) index.add(key, entry.value);
      indexes.set(name, index);
      return index.lookup;
    },
    onChange(listener) {
      // Whoever comes late begins with what is there, and hears of nothing twice.
      if (pending.size > 0) flush();
      for (const [key, { value }] of entries) listener(key, value, undefined);
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    flush,
  };
}
