/** Troubles of one pod, told as events: each text when it comes up, and while it lasts once a minute, which counts it up. */
import type { Clock } from '../lib/clock.ts';

export type Tell = (reason: string, message: string) => void;

const AGAIN_MS = 60_000;

export function saidOnce(tell: Tell, clock: Pick<Clock, 'monotonic'>): Tell {
  let last = '';
  let at = Number.NEGATIVE_INFINITY;
  return (reason, message) => {
    const text = `${reason} ${message}`;
    const now = clock.monotonic();
    if (text === last && now - at < AGAIN_MS) return;
    [last, at] = [text, now];
    tell(reason, message);
  };
}
