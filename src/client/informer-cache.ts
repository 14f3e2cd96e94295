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

interface Index<T> {
  add(key: string, value: T): void;
  remove(key: string, value: T): void;
  lookup: IndexLookup<T>;
}

function createIndex<T>(fn: IndexFn<T>): Index<T> {
  const buckets = new Map<string, { byKey: Map<string, T>; sorted: T[] | undefined }>();
  return {
    add(key, value) {
      for (const at of fn(value)) {
        const bucket = buckets.get(at) ?? { byKey: new Map(), sorted: undefined };
        bucket.byKey.set(key, value);
        bucket.sorted = undefined;
        buckets.set(at, bucket);
      }
    },
    remove(key, value) {
      for (const at of fn(value)) {
        const bucket = buckets.get(at);
        if (!bucket) continue;
        bucket.byKey.delete(key);
        bucket.sorted = undefined;
        if (bucket.byKey.size === 0) buckets.delete(at);
      }
    },
    lookup(at) {
      const bucket = buckets.get(at);
      if (!bucket) return [];
      bucket.sorted ??= sortedValues(bucket.byKey);
      return bucket.sorted;
    },
  };
}

function sortedValues<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** `later` runs its argument at the end of the turn. */
export function createCache<T>(later: (fn: () => void) => void = setImmediate): Cache<T> {
  const entries = new Map<string, Entry<T>>();
  const indexes = new Map<string, Index<T>>();
  const listeners = new Set<ChangeListener<T>>();
  let pending = new Map<string, T | undefined>();
  let sorted: T[] | undefined;

  function flush(): void {
    const changes = pending;
    pending = new Map();
    for (const [key, before] of changes) {
      const now = entries.get(key)?.value;
      if (now === undefined && before === undefined) continue;
      for (const listener of listeners) listener(key, now, before);
    }
  }

  function changed(key: string, before: T | undefined): void {
    sorted = undefined;
    if (listeners.size === 0) return;
    if (pending.size === 0) later(flush);
    if (!pending.has(key)) pending.set(key, before);
  }

  return {
    get: (key) => entries.get(key)?.value,
    revisionOf: (key) => entries.get(key)?.revision,
    keys: () => entries.keys(),
    list() {
      sorted ??= [...entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry.value);
      return sorted;
    },
    set(key, value, revision) {
      const before = entries.get(key);
      if (before && before.revision === revision) return;
      for (const index of indexes.values()) {
        if (before) index.remove(key, before.value);
        index.add(key, value);
      }
      entries.set(key, { value, revision });
      changed(key, before?.value);
    },
    delete(key) {
      const before = entries.get(key);
      if (!before) return;
      for (const index of indexes.values()) index.remove(key, before.value);
      entries.delete(key);
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
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    flush,
  };
}
