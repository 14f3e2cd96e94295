/** Which entries of a table of what was learned go into a smaller one. */
import { codecOf } from '../../kernel/bpf/codec.ts';
import { type BpfMap, possibleCpus } from '../../kernel/bpf/map.ts';
import type { MapTypes } from './layout.ts';
import { textOf } from './map-table.ts';

type Entry = [key: Uint8Array, value: Uint8Array];

/** Free entries that each CPU keeps to itself: a table pushes entries out before it is full. */
const HELD_BY_CPU = 128;

export interface Smaller {
  readonly from: { readonly map: BpfMap; readonly types: MapTypes | undefined };
  readonly to: BpfMap;
  /** What `to` has stays, and nothing that goes in pushes it out. */
  readonly onlyMissing: boolean;
  /** Keys that were looked at before; those that are left out now are added. */
  readonly known: Set<string> | undefined;
}

/**
 * As many as surely fit: those used last, by the field `last` of their values where they have one. The longest unused
 * come first, so that they are pushed out first.
 */
export function newestEntries({ from, to, onlyMissing, known }: Smaller): {
  readonly entries: Iterable<Entry>;
  readonly left: number;
} {
  let room = Math.max(to.maxEntries - HELD_BY_CPU * possibleCpus(), to.maxEntries / 2);
  const skipped = new Set(known);
  // Where keys are known, others are new since, and few.
  if (onlyMissing && skipped.size === 0) {
    for (const [key] of to.entries()) skipped.add(textOf(key));
    room = Math.max(0, room - skipped.size);
  }
  const all = [...from.map.entries()].filter(([key]) => !skipped.has(textOf(key)));
  if (all.length <= room) return { entries: all, left: 0 };
  const last = lastUse(from.types);
  const aged = all.map((entry) => ({ entry, last: last(entry[1]) }));
  aged.sort((a, b) => (a.last < b.last ? -1 : a.last > b.last ? 1 : 0));
  const left = aged.splice(0, aged.length - room);
  for (const { entry } of left) known?.add(textOf(entry[0]));
  return { entries: aged.map(({ entry }) => entry), left: left.length };
}

function lastUse(types: MapTypes | undefined): (value: Uint8Array) => bigint {
  const codec = types && codecOf(types.btf, types.valueType);
  if (!codec?.fields.includes('last')) return () => 0n;
  return (value) => {
    const { last } = codec.decode(value);
    return typeof last === 'bigint' || typeof last === 'number' ? BigInt(last) : 0n;
  };
}
