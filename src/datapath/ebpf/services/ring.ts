/**
 * A ring of hashes (Karger et al., 1997), read off into a table of equal arcs, so that the kernel needs no search.
 * A member that goes moves its own arcs and no others, as long as the table keeps its size.
 */
import { hashText } from './hash.ts';
import { type Member, tableSize } from './maglev.ts';

const POINTS = 160;
/** Of one member, in units of the smallest weight that measures all. */
const MOST_SHARES = 100;
const RING = 2 ** 32;

/** For each slot the index of its member. */
export function ringTable(members: readonly Member[], size = tableSize(members.length)): Uint32Array {
  if (members.length === 0) return new Uint32Array(0);
  const points = pointsOf(members);
  const table = new Uint32Array(size);
  let at = 0;
  for (let slot = 0; slot < size; slot++) {
    const angle = (slot / size) * RING;
    while (at < points.length && (points[at]?.angle ?? 0) < angle) at++;
    table[slot] = (points[at] ?? points[0])?.member ?? 0;
  }
  return table;
}

interface Point {
  readonly angle: number;
  readonly member: number;
}

function pointsOf(members: readonly Member[]): Point[] {
  const divisor = members.reduce((common, { weight }) => gcd(common, weight), 0);
  const points = members.flatMap(({ name, weight }, member) =>
    Array.from({ length: POINTS * Math.min(MOST_SHARES, weight / divisor) }, (_, n) => ({
      angle: hashText(`${name}#${n}`, 0),
      member,
      name,
    })),
  );
  // Two points at one angle: the name decides, so that all nodes agree.
  return points.sort((a, b) => a.angle - b.angle || (a.name < b.name ? -1 : 1));
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
