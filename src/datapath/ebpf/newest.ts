/** Which entries of a table of what was learned go into a smaller one. */
import { codecOf } from '../../kernel/bpf/codec.ts';
import { type BpfMap, possibleCpus } from '../../kernel/bpf/map.ts';
import type { MapTypes } from './layout.ts';

type Entry = [key: Uint8Array, value: Uint8Array];

/** Free entries that each CPU keeps to itself: a table pushes entries out before it is full. */
const HELD_BY_CPU = 128;

/**
 * All, or as many as surely fit `to`: those used last, by the field `last` of their values where they have one. The
 * longest unused come first, so that they are pushed out first.
 */
export function newestEntries(
  from: { readonly map: BpfMap; readonly types: MapTypes | undefined },
  to: Pick<BpfMap, 'maxEntries'>,
): { readonly entries: Iterable<Entry>; readonly left: number } {
  const all = [...from.map.entries()];
  const room = Math.max(to.maxEntries - HELD_BY_CPU * possibleCpus(), to.maxEntries / 2);
  if (all.length <= room) return { entries: all, left: 0 };
  const last = lastUse(from.types);
  const aged = all.map((entry) => ({ entry, last: last(entry[1]) }));
  if (from.types) aged.sort((a, b) => (a.last < b.last ? -1 : a.last > b.last ? 1 : 0));
  return { entries: aged.slice(-room).map(({ entry }) => entry), left: all.length - room };
}

function lastUse(types: MapTypes | undefined): (value: Uint8Array) => bigint {
  const codec = types && codecOf(types.btf, types.valueType);
  if (!codec?.fields.includes('last')) return () => 0n;
  return (value) => {
    const { last } = codec.decode(value);
    return typeof last === 'bigint' || typeof last === 'number' ? BigInt(last) : 0n;
  };
}
