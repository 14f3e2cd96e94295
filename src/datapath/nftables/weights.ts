/** Weighted backends as a list of slots: what is drawn is a slot, and all slots are drawn alike. */
import type { BackendAddress } from '../plan/tables.ts';

/** Shares finer than this are rounded; one slot is the least that somebody who is not draining gets. */
const MOST_SLOTS = 256;

export const weightOf = ({ weight = 1 }: BackendAddress): number => weight;

/** Each backend as often as it weighs, those that drain not at all. Equal weights: once each. */
export function slotList(backends: readonly BackendAddress[]): BackendAddress[] {
  const open = backends.filter((backend) => weightOf(backend) > 0);
  const divisor = open.map(weightOf).reduce(gcd, 0);
  const total = open.reduce((sum, backend) => sum + weightOf(backend), 0) / (divisor || 1);
  const scale = (total > MOST_SLOTS ? MOST_SLOTS / total : 1) / (divisor || 1);
  return open.flatMap((backend) =>
    Array<BackendAddress>(Math.max(1, Math.round(weightOf(backend) * scale))).fill(backend),
  );
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

const SIZES = [31, 127, 509, 2039, 8191] as const;

/**
 * A table of Maglev (Eisenbud et al., NSDI 2016, section 3.4): each backend walks slots in an order of its own and
 * takes the first free one in turn, as many a round as it weighs. Every node makes the same table, and one backend
 * less moves few slots but its own. At least ten slots for each, so shares are within about a tenth.
 */
export function hashSlots(backends: readonly BackendAddress[]): BackendAddress[] {
  const open = backends.filter((backend) => weightOf(backend) > 0);
  if (open.length === 0) return [];
  const most = Math.max(...open.map(weightOf));
  const size = SIZES.find((each) => each >= open.length * 10) ?? SIZES[SIZES.length - 1]!;
  const walks = open.map((backend) => {
    const name = `${backend.address} ${backend.port}`;
    return {
      backend,
      next: hash(name, 0x811c9dc5) % size,
      step: (hash(name, 0x01234567) % (size - 1)) + 1,
      credit: 0,
    };
  });
  const slots: (BackendAddress | undefined)[] = Array(size).fill(undefined);
  for (let taken = 0; taken < size; )
    for (const walk of walks) {
      walk.credit += weightOf(walk.backend) / most;
      if (walk.credit < 1 || taken === size) continue;
      walk.credit -= 1;
      while (slots[walk.next] !== undefined) walk.next = (walk.next + walk.step) % size;
      slots[walk.next] = walk.backend;
      taken++;
    }
  return slots as BackendAddress[];
}

/** FNV-1a with a mix at the end: near addresses must not walk alike. */
function hash(text: string, seed: number): number {
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
