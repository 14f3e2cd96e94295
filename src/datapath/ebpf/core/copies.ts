/**
 * The policy maps, twice: changes go to the copy that is not valid, then one number makes it the valid one, then the
 * other catches up. So programs never decide by half of a change.
 */
import type { Difference } from '../../backend.ts';
import {
  compareRows,
  type Edits,
  readRows,
  type Row,
  type Rows,
  sameBytes,
  type TableMap,
  textOf,
  toRows,
  writeEdits,
} from '../map-table.ts';
import { COPIED, type CopiedMap, type CopiedRow } from './records.ts';

export interface CopyChange {
  readonly map: CopiedMap;
  readonly key: Uint8Array;
  /** Undefined: gone. */
  readonly value: Uint8Array | undefined;
}

export interface Copies {
  /** Returns whether anything was written; then the other copy is valid. */
  apply(changes: Iterable<CopyChange>): boolean;
  prune(wanted: Iterable<CopiedRow>): Difference[];
  verify(wanted: Iterable<CopiedRow>): Difference[];
}

export interface CopiesDeps {
  map(name: CopiedMap): TableMap;
  /** Offset of the copy's number in the map's keys. */
  copyAt(name: CopiedMap): number;
  /** Counts changes; its lowest bit is the valid copy. */
  readonly generation: { get(): number; set(value: number): void };
}

type PerMap<T> = { readonly [M in CopiedMap]: T };

const perMap = <T>(make: (name: CopiedMap) => T): PerMap<T> =>
  Object.fromEntries(COPIED.map((name) => [name, make(name)])) as PerMap<T>;

export function createCopies({ map, copyAt, generation }: CopiesDeps): Copies {
  const maps = perMap(map);
  const offsets = perMap(copyAt);
  /** By keys of copy 0. */
  let rows: PerMap<Rows> = perMap(() => new Map());

  function inCopy(name: CopiedMap, key: Uint8Array, copy: number): Uint8Array {
    if (copy === 0) return key;
    const out = key.slice();
    out[offsets[name]] = copy;
    return out;
  }

  const copyOf = (name: CopiedMap, key: Uint8Array): number => key[offsets[name]] ?? 0;

  function write(copy: number, edits: PerMap<Edits>): void {
    for (const name of COPIED)
      writeEdits(maps[name], {
        puts: edits[name].puts.map(({ key, value }) => ({ key: inCopy(name, key, copy), value })),
        drops: edits[name].drops.map((key) => inCopy(name, key, copy)),
      });
  }

  const valid = (): number => generation.get() & 1;

  /** Puts the other copy in force. */
  const turn = (): void => generation.set((generation.get() + 1) >>> 0);

  /** What is in one copy, by keys of copy 0. */
  function read(name: CopiedMap, found: Rows, copy: number): Rows {
    const own = Iterator.from(found.values()).filter(({ key }) => copyOf(name, key) === copy);
    return toRows(own.map(({ key, value }) => ({ key: inFirst(name, key), value })));
  }

  function inFirst(name: CopiedMap, key: Uint8Array): Uint8Array {
    const out = key.slice();
    out[offsets[name]] = 0;
    return out;
  }

  /** What each copy lacks of `wanted`. */
  function compare(wanted: PerMap<Rows>) {
    const found = perMap((name) => readRows(maps[name]));
    return [0, 1].map((copy) =>
      perMap((name) =>
        compareRows(read(name, found[name], copy), wanted[name], (row) => describe(name, copy, row)),
      ),
    ) as [PerMap<Comparison>, PerMap<Comparison>];
  }
  type Comparison = ReturnType<typeof compareRows>;

  const differences = (comparisons: readonly PerMap<Comparison>[]): Difference[] =>
    comparisons.flatMap((each) => COPIED.flatMap((name) => each[name].differences));

  const isRight = (comparison: PerMap<Comparison>): boolean =>
    COPIED.every((name) => comparison[name].differences.length === 0);

  function grouped(wanted: Iterable<CopiedRow>): PerMap<Rows> {
    const out = perMap((): Rows => new Map());
    for (const { map: name, key, value } of wanted) out[name].set(textOf(key), { key, value });
    return out;
  }

  return {
    apply(changes) {
      const edits = perMap(() => ({ puts: new Map<string, Row>(), drops: new Map<string, Uint8Array>() }));
      for (const { map: name, key, value } of changes) {
        const text = textOf(key);
        const there = rows[name].get(text);
        const { puts, drops } = edits[name];
        puts.delete(text);
        drops.delete(text);
        if (value === undefined) {
          if (there) drops.set(text, key);
        } else if (!there || !sameBytes(there.value, value)) puts.set(text, { key, value });
      }
      const lists = perMap((name) => ({
        puts: [...edits[name].puts.values()],
        drops: [...edits[name].drops.values()],
      }));
      if (COPIED.every((name) => lists[name].puts.length + lists[name].drops.length === 0)) return false;
      const before = valid();
      write(before ^ 1, lists);
      turn();
      write(before, lists);
      for (const name of COPIED) {
        for (const [text, row] of edits[name].puts) rows[name].set(text, row);
        for (const text of edits[name].drops.keys()) rows[name].delete(text);
      }
      return true;
    },
    prune(wanted) {
      const next = grouped(wanted);
      const found = compare(next);
      const before = valid() as 0 | 1;
      write(before ^ 1, found[(before ^ 1) as 0 | 1]);
      if (!isRight(found[before])) {
        turn();
        write(before, found[before]);
      }
      rows = next;
      return differences(found);
    },
    verify: (wanted) => differences(compare(grouped(wanted))),
  };
}

const describe = (name: string, copy: number, { key }: Row): string =>
  `${name} copy ${copy} ${Buffer.from(key).toString('hex')}`;
