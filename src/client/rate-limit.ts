/** A token bucket: `qps` requests a second on average, `burst` at once. Waiters go first come, first served. */
import type { Clock } from '../lib/clock.ts';

export interface RateLimit {
  /** Resolves when a request may go. Rejects with the signal's reason. */
  acquire(signal?: AbortSignal): Promise<void>;
}

export function createRateLimit(qps: number, burst: number, clock: Clock): RateLimit {
  const perToken = 1000 / qps;
  // When the request before this one was due, in monotonic milliseconds; `burst` tokens of it may be saved up.
  let due = Number.NEGATIVE_INFINITY;
  return {
    async acquire(signal) {
      const now = clock.monotonic();
      due = Math.max(due, now - burst * perToken) + perToken;
      if (due > now) await clock.sleep(due - now, signal);
    },
  };
}
