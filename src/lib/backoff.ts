/** Delays that double from `base` to `max` (milliseconds), each drawn from the upper half: no thundering herd. */
export interface Backoff {
  next(): number;
  reset(): void;
}

export function createBackoff(base: number, max: number, random: () => number = Math.random): Backoff {
  let current = base;
  return {
    next() {
      const delay = current / 2 + (random() * current) / 2;
      current = Math.min(max, current * 2);
      return delay;
    },
    reset() {
      current = base;
    },
  };
}
