/**
 * One kernel map by its descriptor. The kernel trusts the lengths of what it is given, so every key and value is
 * checked here and copied through memory that the map owns: a caller's array is never given to the kernel.
 */
import fs from 'node:fs';
import { availableParallelism } from 'node:os';
import { HeddleError } from '../../lib/errors.ts';
import { addressOf } from '../ffi.ts';
import { attributes, call, COMMAND, failure, type MapInfo, mapInfo, must } from './syscall.ts';

export const MAP_TYPE = {
  HASH: 1,
  ARRAY: 2,
  PROG_ARRAY: 3,
  PERCPU_HASH: 5,
  PERCPU_ARRAY: 6,
  LRU_HASH: 9,
  LRU_PERCPU_HASH: 10,
  LPM_TRIE: 11,
  ARRAY_OF_MAPS: 12,
  HASH_OF_MAPS: 13,
  DEVMAP: 14,
  RINGBUF: 27,
} as const;

const perCpuTypes: ReadonlySet<number> = new Set([
  MAP_TYPE.PERCPU_HASH,
  MAP_TYPE.PERCPU_ARRAY,
  MAP_TYPE.LRU_PERCPU_HASH,
]);

/** Flags of `update`. */
export const ANY = 0;
/** Fails with `EEXIST` where the key is there. */
export const NOEXIST = 1;
/** Fails with `ENOENT` where the key is not there. */
export const EXIST = 2;

export interface BpfMap {
  readonly fd: number;
  readonly name: string;
  /** Number of the kernel object. */
  readonly id: number;
  readonly type: number;
  readonly keySize: number;
  /** As user space sees it: of per-CPU maps all CPUs' values, each rounded up to 8 bytes. */
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly info: MapInfo;
  /** A copy; undefined where there is no such key. */
  lookup(key: Uint8Array): Uint8Array | undefined;
  /** False where `flags` were not met. @throws HeddleError `Kernel`, `BpfMapFull` */
  update(key: Uint8Array, value: Uint8Array, flags?: number): boolean;
  /** False where there was none. */
  delete(key: Uint8Array): boolean;
  /**
   * `count` keys and values one behind the other. A batch is not atomic: after an error the entries before the bad
   * one are written. @throws HeddleError `Kernel`, `BpfMapFull`
   */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void;
  /** Keys that are not there are no error. Returns how many were. */
  deleteBatch(keys: Uint8Array, count: number): number;
  /**
   * Everything in the map, in the kernel's order, read in batches. What programs write meanwhile may be in it or
   * not. The arrays are copies.
   */
  entries(): Generator<[key: Uint8Array, value: Uint8Array], void, void>;
  /** Closes the descriptor; the kernel keeps the map while a pin or a program holds it. */
  close(): void;
}

/** CPUs that the kernel may ever have: per-CPU values have one slot for each. */
export const possibleCpus: () => number = (() => {
  let count: number | undefined;
  return () => (count ??= readPossible());
})();

function readPossible(): number {
  try {
    const ranges = fs.readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim().split(',');
    return Math.max(...ranges.map((range) => Number(range.split('-').at(-1)))) + 1;
  } catch {
    return availableParallelism();
  }
}

const ENTRIES_PER_BATCH = 1024;

/** Takes over the descriptor. `name` is the full one; the kernel keeps only 15 bytes. */
export function openMap(fd: number, name?: string): BpfMap {
  const info = mapInfo(fd);
  const label = name ?? info.name;
  const { keySize } = info;
  const valueSize = perCpuTypes.has(info.type)
    ? ((info.valueSize + 7) & ~7) * possibleCpus()
    : info.valueSize;
  const key = new Uint8Array(Math.max(keySize, 4));
  const value = new Uint8Array(Math.max(valueSize, 4));
  const next = new Uint8Array(key.length);
  const element = attributes(32);
  element.view.setUint32(0, fd, true);
  element.view.setBigUint64(8, addressOf(key), true);
  element.view.setBigUint64(16, addressOf(value), true);
  // Deleting refuses attributes with a value.
  const bare = attributes(16);
  bare.view.setUint32(0, fd, true);
  bare.view.setBigUint64(8, addressOf(key), true);
  const walk = attributes(32);
  walk.view.setUint32(0, fd, true);
  walk.view.setBigUint64(16, addressOf(next), true);
  let open = true;

  function useKey(bytes: Uint8Array): void {
    checkOpen();
    checkLength('key', bytes, keySize);
    key.set(bytes);
  }

  /** Its number may be another file's by now. */
  function checkOpen(): void {
    if (!open) throw new HeddleError('BpfClosed', `the map ${label} is closed`);
  }

  function checkLength(what: string, bytes: Uint8Array, expected: number): void {
    if (bytes.length === expected) return;
    throw new HeddleError(
      'BpfMapSize',
      `the map ${label} takes a ${what} of ${expected} bytes, not ${bytes.length}`,
      { hint: 'the programs and this build are of different versions' },
    );
  }

  function fail(result: number, action: string): never {
    if (failure(result) === 'E2BIG' || failure(result) === 'ENOSPC')
      throw new HeddleError('BpfMapFull', `the map ${label} is full (${info.maxEntries} entries)`, {
        hint: 'start the cluster with a larger --map-memory, or let fewer objects be programmed',
      });
    must(result, `${action} the map ${label}`);
    throw new HeddleError('Kernel', `cannot ${action} the map ${label}`);
  }

  function update(k: Uint8Array, v: Uint8Array, flags = ANY): boolean {
    useKey(k);
    checkLength('value', v, valueSize);
    value.set(v);
    element.view.setBigUint64(24, BigInt(flags), true);
    const result = call(COMMAND.MAP_UPDATE, element.bytes);
    if (result >= 0) return true;
    if (flags !== ANY && (failure(result) === 'EEXIST' || failure(result) === 'ENOENT')) return false;
    return fail(result, 'write to');
  }

  function remove(k: Uint8Array): boolean {
    useKey(k);
    const result = call(COMMAND.MAP_DELETE, bare.bytes);
    if (result >= 0) return true;
    if (failure(result) === 'ENOENT') return false;
    return fail(result, 'delete from');
  }

  function lookup(k: Uint8Array): Uint8Array | undefined {
    useKey(k);
    element.view.setBigUint64(24, 0n, true);
    const result = call(COMMAND.MAP_LOOKUP, element.bytes);
    if (result >= 0) return value.slice(0, valueSize);
    if (failure(result) === 'ENOENT') return undefined;
    return fail(result, 'read');
  }

  /** One batch command over the caller's arrays, which stay referenced by this frame. */
  function batch(command: number, keys: Uint8Array, values: Uint8Array | undefined, count: number) {
    const { bytes, view } = attributes(56);
    view.setBigUint64(16, addressOf(keys), true);
    if (values) view.setBigUint64(24, addressOf(values), true);
    view.setUint32(32, count, true);
    view.setUint32(36, fd, true);
    const result = call(command, bytes, keys, values);
    return { result, done: view.getUint32(32, true) };
  }

  function checkBatch(keys: Uint8Array, count: number): void {
    checkOpen();
    checkLength('batch of keys', keys, keySize * count);
  }

  function updateBatch(keys: Uint8Array, values: Uint8Array, count: number): void {
    checkBatch(keys, count);
    checkLength('batch of values', values, valueSize * count);
    if (count === 0) return;
    const { result, done } = batch(COMMAND.MAP_UPDATE_BATCH, keys, values, count);
    if (result >= 0) return;
    if (!batchMissing(result)) fail(result, `write entry ${done} of a batch to`);
    for (let i = 0; i < count; i++) update(slot(keys, i, keySize), slot(values, i, valueSize));
  }

  function deleteBatch(keys: Uint8Array, count: number): number {
    checkBatch(keys, count);
    let removed = 0;
    for (let from = 0; from < count; ) {
      const rest = keys.subarray(from * keySize);
      const { result, done } = batch(COMMAND.MAP_DELETE_BATCH, rest, undefined, count - from);
      if (result >= 0) return removed + count - from;
      if (batchMissing(result)) {
        for (; from < count; from++) if (remove(slot(keys, from, keySize))) removed++;
        return removed;
      }
      if (failure(result) !== 'ENOENT') fail(result, 'delete a batch from');
      // The kernel stops at a key that is not there: go on behind it.
      removed += done;
      from += done + 1;
    }
    return removed;
  }

  function* entries(): Generator<[Uint8Array, Uint8Array], void, void> {
    // The kernel's place in the table: a key, or the number of a bucket.
    const place = new Uint8Array(Math.max(keySize, 8));
    let size = Math.min(ENTRIES_PER_BATCH, info.maxEntries);
    for (let first = true; ; first = false) {
      checkOpen();
      const keys = new Uint8Array(keySize * size);
      const values = new Uint8Array(valueSize * size);
      const { bytes, view } = attributes(56);
      if (!first) view.setBigUint64(0, addressOf(place), true);
      view.setBigUint64(8, addressOf(place), true);
      view.setBigUint64(16, addressOf(keys), true);
      view.setBigUint64(24, addressOf(values), true);
      view.setUint32(32, size, true);
      view.setUint32(36, fd, true);
      const result = call(COMMAND.MAP_LOOKUP_BATCH, bytes, place, keys, values);
      const end = result < 0 && failure(result) === 'ENOENT';
      // One bucket holds more than a batch; the place is in front of it.
      if (result < 0 && failure(result) === 'ENOSPC') {
        size *= 2;
        continue;
      }
      if (result < 0 && !end) {
        if (!first || !batchMissing(result)) fail(result, 'list');
        yield* oneByOne();
        return;
      }
      const done = view.getUint32(32, true);
      for (let i = 0; i < done; i++) yield [slot(keys, i, keySize), slot(values, i, valueSize)];
      if (end) return;
    }
  }

  /** A key that is deleted under the walk sends the kernel back to the start, so seen keys are left out. */
  function* oneByOne(): Generator<[Uint8Array, Uint8Array], void, void> {
    const seen = new Set<string>();
    let current: Uint8Array | undefined;
    for (;;) {
      checkOpen();
      if (current) key.set(current);
      walk.view.setBigUint64(8, current ? addressOf(key) : 0n, true);
      const result = call(COMMAND.MAP_NEXT_KEY, walk.bytes);
      if (result < 0 && failure(result) === 'ENOENT') return;
      if (result < 0) fail(result, 'list');
      current = next.slice(0, keySize);
      const name = Buffer.from(current).toString('latin1');
      if (seen.has(name)) continue;
      seen.add(name);
      const found = lookup(current);
      if (found) yield [current, found];
    }
  }

  return {
    fd,
    name: label,
    id: info.id,
    type: info.type,
    keySize,
    valueSize,
    maxEntries: info.maxEntries,
    flags: info.flags,
    info,
    lookup,
    update,
    delete: remove,
    updateBatch,
    deleteBatch,
    entries,
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  };
}

/** Kernels give LPM tries and per-CPU arrays batches late, or not at all. */
const batchMissing = (result: number): boolean =>
  failure(result) === 'EOPNOTSUPP' || failure(result) === 'EINVAL' || failure(result) === 'errno 524';

const slot = (bytes: Uint8Array, index: number, size: number): Uint8Array =>
  bytes.subarray(index * size, (index + 1) * size);
