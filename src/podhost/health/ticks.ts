import type { Clock } from '../../lib/clock.ts';

/**
 * Milliseconds until the next time of a probe. All probes of an agent fall on its whole seconds: a hundred pods wake it,
 * and who answers, once a second and not a hundred times.
 */
export function ticks(clock: Pick<Clock, 'monotonic'>, period: number): () => number {
  let due = Math.ceil(clock.monotonic() / 1000) * 1000;
  return () => {
    const now = clock.monotonic();
    due += period * Math.max(1, Math.ceil((now - due) / period));
    return due - now;
  };
}
