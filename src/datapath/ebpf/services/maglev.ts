/**
 * Maglev's look-up table (Eisenbud et al., NSDI 2016, section 3.4): every backend has its own order of all slots,
 * and in turns each takes the next of its order that is free. Slots are shared to within one; a backend that goes
 * moves few slots of the others. A pure function of names and weights: nodes that know the same backends send a
 * connection to the same one.
 */
import { hashText } from './hash.ts';

export interface Member {
  /** As `10.0.0.1|80` */
  readonly name: string;
  /** At least 1 */
  readonly weight: number;
}

/**
 * Primes, far apart: between two of them the size stays while backends come and go, for another size moves every
 * connection. At least 100 slots for each backend keep their shares within 1 %.
 */
const SIZES = [509, 2039, 8191, 32_749, 131_071];
const SLOTS_PER_MEMBER = 100;

/** Of tables for so many backends. More than 1,310 get less even shares. */
export const tableSize = (members: number): number =>
  SIZES.find((size) => size >= members * SLOTS_PER_MEMBER) ?? 131_071;

const OFFSET_SEED = 0;
const SKIP_SEED = 0x9e3779b9;

/** For each slot the index of its member. Members in another order give the same shares under other indexes. */
export function maglevTable(members: readonly Member[], size = tableSize(members.length)): Uint32Array {
  const table = new Uint32Array(size);
  if (members.length === 0) return table.subarray(0, 0);
  const order = members.map((_, index) => index).toSorted((a, b) => byName(members, a, b));
  const next = new Float64Array(members.length);
  const skip = new Float64Array(members.length);
  const due = new Float64Array(members.length);
  let heaviest = 1;
  for (const [i, { name, weight }] of members.entries()) {
    next[i] = hashText(name, OFFSET_SEED) % size;
    skip[i] = (hashText(name, SKIP_SEED) % (size - 1)) + 1;
    heaviest = Math.max(heaviest, weight);
  }
  const taken = new Uint8Array(size);

  /** The next free slot of a member's order; with a prime size the order visits every slot. */
  const take = (i: number): number => {
    const step = skip[i] ?? 1;
    let at = next[i] ?? 0;
    while (taken[at]) at = (at + step) % size;
    next[i] = (at + step) % size;
    taken[at] = 1;
    return at;
  };

  for (let filled = 0; ; ) {
    for (const i of order) {
      // A member takes its turn in that share of the rounds that its weight is of the heaviest one's.
      const turn = (due[i] ?? 0) + (members[i]?.weight ?? 1);
      due[i] = turn >= heaviest ? turn - heaviest : turn;
      if (turn < heaviest) continue;
      table[take(i)] = i;
      if (++filled === size) return table;
    }
  }
}

function byName(members: readonly Member[], a: number, b: number): number {
  const [x, y] = [members[a]?.name ?? '', members[b]?.name ?? ''];
  return x < y ? -1 : x > y ? 1 : a - b;
}
