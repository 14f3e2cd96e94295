/**
 * Address ranges that overlap at will, each with a value. Ranges are cut where any begins or ends; a place is an
 * interval between two cuts. A range is kept at the few nodes of a binary tree over the places that cover it, so that
 * n ranges need about n log n room however they overlap.
 */
import { type Address, bits, type Cidr, type Family } from '../../lib/ip.ts';

export interface RangeIndex<T> {
  /** Addresses of one place are in the same ranges. From 0; places of IPv6 come after those of IPv4. */
  place(address: Address): number;
  /** Faster, of an IPv4 address as a number. */
  place4(value: number): number;
  /** Faster, of an IPv6 address in groups of 16 bits, the most significant first. */
  place6(groups: readonly number[]): number;
  readonly places: number;
  /** How many values are kept. */
  readonly room: number;
  /** Values of the ranges that hold the place, each as often as it was given. */
  valuesAt(place: number): T[];
}

export interface Ranged<T> {
  readonly cidr: Cidr;
  readonly value: T;
}

export function indexRanges<T>(ranges: readonly Ranged<T>[]): RangeIndex<T> {
  const [four, six] = ([4, 6] as const).map((family) =>
    indexFamily(
      family,
      ranges.filter(({ cidr }) => cidr.family === family),
    ),
  ) as [FamilyIndex<T>, FamilyIndex<T>];
  const starts4 = Float64Array.from(four.starts, Number);
  const starts6 = Uint16Array.from(six.starts.flatMap(groupsOf));
  const place4 = (value: number): number => {
    let low = 0;
    let high = starts4.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts4[middle]! <= value) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const place6 = (groups: readonly number[]): number => starts4.length + lastUpTo(starts6, groups);
  return {
    place4,
    place6,
    place: ({ family, value }) => (family === 4 ? place4(Number(value)) : place6(groupsOf(value))),
    places: starts4.length + six.starts.length,
    room: four.room + six.room,
    valuesAt: (place) =>
      place < starts4.length ? four.valuesAt(place) : six.valuesAt(place - starts4.length),
  };
}

interface FamilyIndex<T> {
  /** Where places begin; the first is 0. */
  readonly starts: readonly bigint[];
  readonly room: number;
  valuesAt(place: number): T[];
}

function indexFamily<T>(family: Family, ranges: readonly Ranged<T>[]): FamilyIndex<T> {
  const size = bits(family);
  const after = (cidr: Cidr) => cidr.value + (1n << BigInt(size - cidr.length));
  const cuts = new Set<bigint>([0n]);
  for (const { cidr } of ranges) cuts.add(cidr.value).add(after(cidr));
  cuts.delete(1n << BigInt(size));
  const starts = [...cuts].sort(compare);
  const places = new Map(starts.map((start, i) => [start, i]));
  const tree = new Map<number, T[]>();
  const put = (node: number, value: T) => {
    const values = tree.get(node);
    if (values) values.push(value);
    else tree.set(node, [value]);
  };
  for (const { cidr, value } of ranges) {
    let left = places.get(cidr.value)! + starts.length;
    let right = (places.get(after(cidr)) ?? starts.length) + starts.length;
    for (; left < right; left >>= 1, right >>= 1) {
      if (left & 1) put(left++, value);
      if (right & 1) put(--right, value);
    }
  }
  return {
    starts,
    room: Iterator.from(tree.values()).reduce((sum, values) => sum + values.length, 0),
    valuesAt(place) {
      const values: T[] = [];
      for (let node = place + starts.length; node > 0; node >>= 1)
        for (const value of tree.get(node) ?? []) values.push(value);
      return values;
    },
  };
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

const GROUPS = 8;

const groupsOf = (value: bigint): number[] =>
  Array.from({ length: GROUPS }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));

/** The last that begins up to there; the first always does. */
function lastUpTo(starts: Uint16Array, groups: readonly number[]): number {
  let low = 0;
  let high = starts.length / GROUPS - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (isUpTo(starts, middle, groups)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function isUpTo(starts: Uint16Array, at: number, groups: readonly number[]): boolean {
  for (let i = 0; i < GROUPS; i++) {
    const difference = starts[GROUPS * at + i]! - groups[i]!;
    if (difference !== 0) return difference < 0;
  }
  return true;
}
