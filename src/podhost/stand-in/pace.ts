/** Something that is done at a rate: counted from its beginning, so that timers that are late do not slow it down. */

export interface PaceOptions {
  /** Per second. */
  rate: number;
  /** 0 to 1: the part of the time between two that passes before the first. */
  phase: number;
  /** Milliseconds, never going back. */
  now(): number;
  once(): void;
  /** So many were due too long ago to be made up for. */
  onMissed(count: number): void;
}

/** Milliseconds of what is late that are made up for; of a slower rate one. */
const MAKE_UP_MS = 1000;

/** Until the result is called. */
export function keepPace({ rate, phase, now, once, onMissed }: PaceOptions): () => void {
  const period = 1000 / rate;
  const first = now() + phase * period;
  const most = Math.max(1, Math.floor(MAKE_UP_MS / period));
  /** Whose time has come. */
  let count = 0;
  let timer: NodeJS.Timeout | undefined;
  const wait = () => {
    timer = setTimeout(tick, Math.max(1, Math.ceil(first + count * period - now())));
  };
  const tick = () => {
    const due = Math.max(0, Math.floor((now() - first) / period) + 1 - count);
    count += due;
    if (due > most) onMissed(due - most);
    wait();
    for (let left = Math.min(due, most); left > 0; left--) once();
  };
  wait();
  return () => clearTimeout(timer);
}
