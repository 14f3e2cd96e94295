/** Tables for draws and rounds: each member as often as its weight says, spread out as evenly as can be. */
const MOST_SLOTS = 1024;

/** For each slot the index of its member. With equal weights every member has one slot. */
export function weightedTable(weights: readonly number[]): Uint32Array {
  const shares = reduce(weights);
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (total === shares.length) return Uint32Array.from(shares.keys());
  return Uint32Array.from(rounds(shares, total));
}

/** In every step all members earn their share, and the richest pays the total for a slot. */
function* rounds(shares: readonly number[], total: number): Generator<number, void, void> {
  const credit = shares.map(() => 0);
  for (let slot = 0; slot < total; slot++) {
    let richest = 0;
    for (const [i, share] of shares.entries()) {
      credit[i] = (credit[i] ?? 0) + share;
      if ((credit[i] ?? 0) > (credit[richest] ?? 0)) richest = i;
    }
    credit[richest] = (credit[richest] ?? 0) - total;
    yield richest;
  }
}

/** The smallest whole numbers in the same proportion; rounded, none to 0, where they would fill too many slots. */
function reduce(weights: readonly number[]): number[] {
  const divisor = weights.reduce(gcd, 0) || 1;
  const exact = weights.map((weight) => weight / divisor);
  const total = exact.reduce((sum, weight) => sum + weight, 0);
  if (total <= Math.max(MOST_SLOTS, weights.length)) return exact;
  const scale = MOST_SLOTS / total;
  return exact.map((weight) => Math.max(1, Math.round(weight * scale)));
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
