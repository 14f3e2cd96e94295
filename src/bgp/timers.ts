/** Time as a dependency: sessions are made of timers, and tests turn the clock themselves. */
export interface Timers {
  /** Milliseconds since 1970, for "since". */
  now(): number;
  /** Runs `fn` once after `ms`; the returned function calls it off. */
  after(ms: number, fn: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => Date.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};
