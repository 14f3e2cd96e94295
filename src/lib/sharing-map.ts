/**
 * Read-only maps, each made from another by a few changes, and sharing with it all that has not changed: one change among
 * 100,000 keys copies about a hundred. Two of them are compared by what they do not share.
 */

/** A power of two. */
const SHARDS = 1024;

type Key = string | number;
type Shard<K extends Key, V> = ReadonlyMap<K, V>;
type Shards<K extends Key, V> = readonly (Shard<K, V> | undefined)[];

export class SharingMap<K extends Key, V> implements ReadonlyMap<K, V> {
  readonly #shards: Shards<K, V>;
  readonly size: number;

  private constructor(shards: Shards<K, V>, size: number) {
    this.#shards = shards;
    this.size = size;
  }

  static of<K extends Key, V>(entries: Iterable<readonly [K, V]> = []): SharingMap<K, V> {
    const shards: (Map<K, V> | undefined)[] = Array.from({ length: SHARDS });
    for (const [key, value] of entries) (shards[placeOf(key)] ??= new Map()).set(key, value);
    return new SharingMap<K, V>(
      shards,
      shards.reduce((size, shard) => size + (shard?.size ?? 0), 0),
    );
  }

  /** @param changes in their order; undefined: the key goes. Returns this map if it says all of that already. */
  with(changes: Iterable<readonly [K, V | undefined]>): SharingMap<K, V> {
    const own = new Map<number, Map<K, V>>();
    let size = this.size;
    for (const [key, value] of changes) {
      const place = placeOf(key);
      const shard = own.get(place) ?? this.#shards[place];
      if (shard?.get(key) === value) continue;
      const copy = own.get(place) ?? new Map(shard);
      own.set(place, copy);
      size -= copy.size;
      if (value === undefined) copy.delete(key);
      else copy.set(key, value);
      size += copy.size;
    }
    if (own.size === 0) return this;
    const shards = [...this.#shards];
    for (const [place, shard] of own) shards[place] = shard.size > 0 ? shard : undefined;
    return new SharingMap(shards, size);
  }

  /** Each key that has another value in `after`, with that value; undefined: it has gone. */
  *changesTo(after: SharingMap<K, V>): Generator<readonly [K, V | undefined]> {
    if (this === after) return;
    for (const [place, is] of after.#shards.entries()) {
      const was = this.#shards[place];
      if (was === is) continue;
      for (const [key, value] of is ?? []) if (was?.get(key) !== value) yield [key, value];
      for (const key of was?.keys() ?? []) if (!is?.has(key)) yield [key, undefined];
    }
  }

  get(key: K): V | undefined {
    return this.#shards[placeOf(key)]?.get(key);
  }

  has(key: K): boolean {
    return this.#shards[placeOf(key)]?.has(key) ?? false;
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const shard of this.#shards) shard?.forEach((value, key) => visit(value, key, this));
  }

  *entries(): Generator<[K, V], undefined> {
    for (const shard of this.#shards) if (shard) yield* shard;
  }

  *keys(): Generator<K, undefined> {
    for (const shard of this.#shards) if (shard) yield* shard.keys();
  }

  *values(): Generator<V, undefined> {
    for (const shard of this.#shards) if (shard) yield* shard.values();
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }
}

function placeOf(key: Key): number {
  let hash = 0;
  if (typeof key === 'number') hash = Math.imul(key, 0x9e3779b1);
  else for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x9e3779b1);
  hash ^= hash >>> 15;
  return (hash ^ (hash >>> 10)) & (SHARDS - 1);
}
