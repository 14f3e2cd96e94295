/**
 * Entries of a map into one of another layout: field by field, by name. Fields that only one of them has are left
 * out or 0. It works in both directions: an older build reads a newer map the same way.
 */
import { type Convert, createConverter } from '../../kernel/bpf/convert.ts';
import { ANY, type BpfMap, MAP_TYPE, NOEXIST, possibleCpus } from '../../kernel/bpf/map.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { MapTypes } from './layout.ts';
import { textOf } from './map-table.ts';
import { newestEntries } from './newest.ts';

export interface Copied {
  readonly copied: number;
  /** Entries whose values the new layout cannot hold, or for which it had no place. */
  readonly unfit: number;
}

export interface Side {
  readonly map: BpfMap;
  readonly types: MapTypes | undefined;
}

const perCpu: ReadonlySet<number> = new Set([
  MAP_TYPE.PERCPU_ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.LRU_PERCPU_HASH,
]);
const keyed: ReadonlySet<number> = new Set([
  MAP_TYPE.HASH,
  MAP_TYPE.ARRAY,
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.PERCPU_ARRAY,
  MAP_TYPE.LRU_HASH,
  MAP_TYPE.LRU_PERCPU_HASH,
  MAP_TYPE.LPM_TRIE,
]);
const learning: ReadonlySet<number> = new Set([MAP_TYPE.LRU_HASH, MAP_TYPE.LRU_PERCPU_HASH]);

/** Whether programs write its entries: what they add during a change of programs is worth copying afterwards. */
export const isLearned = (type: number): boolean => learning.has(type);

/** Ring buffers and tables of programs hold nothing that another can take. */
export const isCopyable = (from: number, to: number): boolean =>
  keyed.has(from) && keyed.has(to) && perCpu.has(from) === perCpu.has(to);

const isArray = ({ type }: BpfMap): boolean => type === MAP_TYPE.ARRAY || type === MAP_TYPE.PERCPU_ARRAY;

const isZero = (value: Uint8Array | undefined): boolean =>
  value === undefined || value.every((byte) => byte === 0);

/** Entries written with one call. */
const BATCH = 1024;

/**
 * `onlyMissing`: an entry that `to` has stays as it is there. `known`: keys that are left out, and to which all others
 * are added, so that doing it again and again costs little.
 */
export function copyEntries(
  from: Side,
  to: Side,
  options: { onlyMissing?: boolean; known?: Set<string> } = {},
): Copied {
  const { onlyMissing = false, known } = options;
  const key = converter(from, to, 'keyType');
  const value = converter(from, to, 'valueType');
  const slots = perCpu.has(from.map.type) ? possibleCpus() : 1;
  const { keySize, valueSize } = to.map;
  const keys = new Uint8Array(BATCH * keySize);
  const values = new Uint8Array(BATCH * valueSize);
  let waiting = 0;
  let copied = 0;
  let unfit = 0;

  function flush(): void {
    const written = onlyMissing
      ? writeSingly(to.map, keys, values, waiting, NOEXIST)
      : writeBatch(to.map, keys, values, waiting);
    copied += written;
    if (!onlyMissing) unfit += waiting - written;
    waiting = 0;
  }

  // Full of what was learned, it would push out whatever came first.
  const isTight = isLearned(to.map.type) && to.map.maxEntries < from.map.maxEntries;
  const { entries, left } = isTight
    ? newestEntries({ from, to: to.map, onlyMissing, known })
    : { entries: from.map.entries(), left: 0 };
  unfit += left;
  for (const [oldKey, oldValue] of entries) {
    // An array has all of its entries always; those of zeros are none.
    if (isArray(from.map) && isZero(oldValue)) continue;
    if (known) {
      const text = textOf(oldKey);
      if (known.has(text)) continue;
      known.add(text);
    }
    keys.fill(0, waiting * keySize, (waiting + 1) * keySize);
    values.fill(0, waiting * valueSize, (waiting + 1) * valueSize);
    let fits = key(oldKey, 0, keys, waiting * keySize);
    for (let slot = 0; slot < slots && fits; slot++) {
      const at = waiting * valueSize + (slot * valueSize) / slots;
      fits = value(oldValue, (slot * from.map.valueSize) / slots, values, at);
    }
    if (!fits) unfit++;
    else if (++waiting === BATCH) flush();
  }
  flush();
  return { copied, unfit };
}

/** How many went in. */
function writeBatch(map: BpfMap, keys: Uint8Array, values: Uint8Array, count: number): number {
  try {
    map.updateBatch(keys.subarray(0, count * map.keySize), values.subarray(0, count * map.valueSize), count);
    return count;
  } catch (error) {
    if (!isFull(error)) throw error;
    return writeSingly(map, keys, values, count, ANY);
  }
}

function writeSingly(
  map: BpfMap,
  keys: Uint8Array,
  values: Uint8Array,
  count: number,
  flags: number,
): number {
  const { keySize, valueSize } = map;
  let written = 0;
  for (let i = 0; i < count; i++) {
    const key = keys.subarray(i * keySize, (i + 1) * keySize);
    const value = values.subarray(i * valueSize, (i + 1) * valueSize);
    try {
      if (isArray(map) ? putMissing(map, key, value, flags) : map.update(key, value, flags)) written++;
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }
  return written;
}

/** Every entry of an array exists: what is missing there is zeros. */
function putMissing(map: BpfMap, key: Uint8Array, value: Uint8Array, flags: number): boolean {
  if (flags === NOEXIST && !isZero(map.lookup(key))) return false;
  return map.update(key, value, ANY);
}

const isFull = (error: unknown): boolean => error instanceof HeddleError && error.code === 'BpfMapFull';

/** Without types there is nothing to go by but the length. */
function converter(from: Side, to: Side, field: 'keyType' | 'valueType'): Convert {
  if (from.types && to.types)
    return createConverter(
      { btf: from.types.btf, type: from.types[field] },
      { btf: to.types.btf, type: to.types[field] },
    );
  const [size, newSize] = [from.map.info, to.map.info].map((info) =>
    field === 'keyType' ? info.keySize : info.valueSize,
  );
  return (source, fromAt, target, toAt) => {
    if (size !== newSize) return false;
    target.set(source.subarray(fromAt, fromAt + size!), toAt);
    return true;
  };
}
