/**
 * Writes to the service maps, gathered and then sent in the order that never leaves a number leading nowhere:
 * backends, source ranges, tables, frontends; then what is gone, the other way round.
 */
import type { BpfMap } from '../../../kernel/bpf/map.ts';

export type WritableMap = Pick<
  BpfMap,
  | 'name'
  | 'keySize'
  | 'valueSize'
  | 'lookup'
  | 'update'
  | 'delete'
  | 'updateBatch'
  | 'deleteBatch'
  | 'entries'
>;

/** In the order of writing. */
export const STAGED = ['backends', 'source_ranges', 'service_tables', 'frontends', 'service_ranges'] as const;
export type StagedMap = (typeof STAGED)[number];
export type StagedMaps = { readonly [name in StagedMap]: WritableMap };

export interface Stage {
  put(map: StagedMap, key: Uint8Array, value: Uint8Array): void;
  drop(map: StagedMap, key: Uint8Array): void;
  /** @throws HeddleError `Kernel`, `BpfMapFull` */
  commit(): void;
}

export function createStage(maps: StagedMaps): Stage {
  const puts = new Map<StagedMap, Rows>();
  const drops = new Map<StagedMap, Rows>();
  const rows = (of: Map<StagedMap, Rows>, map: StagedMap): Rows => {
    const known = of.get(map) ?? createRows(maps[map].keySize, maps[map].valueSize);
    of.set(map, known);
    return known;
  };
  return {
    put: (map, key, value) => rows(puts, map).add(key, value),
    drop: (map, key) => rows(drops, map).add(key),
    commit() {
      for (const name of STAGED) puts.get(name)?.write(maps[name]);
      for (const name of STAGED.toReversed()) drops.get(name)?.remove(maps[name]);
      puts.clear();
      drops.clear();
    },
  };
}

interface Rows {
  add(key: Uint8Array, value?: Uint8Array): void;
  write(map: WritableMap): void;
  remove(map: WritableMap): void;
}

function createRows(keySize: number, valueSize: number): Rows {
  let count = 0;
  let keys = new Uint8Array(0);
  let values = new Uint8Array(0);
  const grow = () => {
    const room = Math.max(4, count * 4);
    keys = enlarged(keys, room * keySize);
    values = enlarged(values, room * valueSize);
  };
  return {
    add(key, value) {
      if ((count + 1) * keySize > keys.length) grow();
      copy(key, keys, count * keySize);
      if (value) copy(value, values, count * valueSize);
      count++;
    },
    write(map) {
      map.updateBatch(keys.subarray(0, count * keySize), values.subarray(0, count * valueSize), count);
    },
    remove(map) {
      map.deleteBatch(keys.subarray(0, count * keySize), count);
    },
  };
}

/** For a few bytes a loop is several times quicker than `set`. */
function copy(from: Uint8Array, to: Uint8Array, at: number): void {
  if (from.length > 32) return to.set(from, at);
  for (let i = 0; i < from.length; i++) to[at + i] = from[i] ?? 0;
}

function enlarged(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
}
