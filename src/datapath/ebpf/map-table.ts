/**
 * A kernel map whose entries somebody wants: what is to change is gathered and written in batches, and what the
 * kernel has is compared with what it should have. Keys and values are encoded bytes.
 */
import type { BpfMap } from '../../kernel/bpf/map.ts';
import type { Difference } from '../backend.ts';

export type TableMap = Pick<
  BpfMap,
  'name' | 'keySize' | 'valueSize' | 'entries' | 'updateBatch' | 'deleteBatch'
>;

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Entries by their key as latin1 text. */
export type Rows = Map<string, Row>;

export const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export function toRows(list: Iterable<Row>): Rows {
  const rows: Rows = new Map();
  for (const row of list) rows.set(textOf(row.key), row);
  return rows;
}

export interface Edits {
  readonly puts: readonly Row[];
  readonly drops: readonly Uint8Array[];
}

/** Writes in two batches at most, what is new first. Returns whether there was anything to write. */
export function writeEdits(map: TableMap, { puts, drops }: Edits): boolean {
  if (puts.length > 0)
    map.updateBatch(joined(puts.map(({ key }) => key)), joined(puts.map(({ value }) => value)), puts.length);
  if (drops.length > 0) map.deleteBatch(joined(drops), drops.length);
  return puts.length + drops.length > 0;
}

const joined = (list: readonly Uint8Array[]): Uint8Array => Buffer.concat(list);

export interface Comparison extends Edits {
  readonly differences: readonly Difference[];
}

/** What makes `found` into `wanted`. `what` names an entry for people. */
export function compareRows(found: Rows, wanted: Rows, what: (row: Row) => string): Comparison {
  const puts: Row[] = [];
  const drops: Uint8Array[] = [];
  const differences: Difference[] = [];
  for (const [text, row] of wanted) {
    const there = found.get(text);
    if (there && sameBytes(there.value, row.value)) continue;
    puts.push(row);
    differences.push({ kind: there ? 'changed' : 'missing', what: what(row) });
  }
  for (const [text, row] of found) {
    if (wanted.has(text)) continue;
    drops.push(row.key);
    differences.push({ kind: 'foreign', what: what(row) });
  }
  return { puts, drops, differences };
}

export const readRows = (map: TableMap): Rows =>
  toRows(Iterator.from(map.entries()).map(([key, value]) => ({ key, value })));

export interface MapTable {
  readonly rows: ReadonlyMap<string, Row>;
  /** Writes what differs from what is wanted now. Returns whether it did. `value` undefined: gone. */
  apply(changes: Iterable<{ key: Uint8Array; value: Uint8Array | undefined }>): boolean;
  /** Makes the map hold `wanted`, by what it was made to hold before; does not read the kernel. */
  become(wanted: Iterable<Row>): boolean;
  prune(wanted: Iterable<Row>): Difference[];
  verify(wanted: Iterable<Row>): Difference[];
}

/** @param what names an entry: `10.244.1.2 at veth3` */
export function createMapTable(map: TableMap, what: (row: Row) => string): MapTable {
  let rows: Rows = new Map();
  const named = (row: Row) => `${map.name} ${what(row)}`;
  return {
    get rows() {
      return rows;
    },
    apply(changes) {
      const puts = new Map<string, Row>();
      const drops = new Map<string, Uint8Array>();
      for (const { key, value } of changes) {
        const text = textOf(key);
        const there = rows.get(text);
        puts.delete(text);
        drops.delete(text);
        if (value === undefined) {
          if (there) drops.set(text, key);
        } else if (!there || !sameBytes(there.value, value)) puts.set(text, { key, value });
      }
      const wrote = writeEdits(map, { puts: [...puts.values()], drops: [...drops.values()] });
      for (const [text, row] of puts) rows.set(text, row);
      for (const text of drops.keys()) rows.delete(text);
      return wrote;
    },
    become(wanted) {
      const next = toRows(wanted);
      const wrote = writeEdits(map, compareRows(rows, next, named));
      rows = next;
      return wrote;
    },
    prune(wanted) {
      const next = toRows(wanted);
      const comparison = compareRows(readRows(map), next, named);
      writeEdits(map, comparison);
      rows = next;
      return [...comparison.differences];
    },
    verify: (wanted) => [...compareRows(readRows(map), toRows(wanted), named).differences],
  };
}
