/**
 * Keys to work on: a key waits once however often it is added, is worked on by one worker at a time, and comes
 * back later and later while its work fails.
 */
import { type Clock, systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { aborted } from '../lib/signals.ts';
import { isConflict, isUnreachable } from './api-error.ts';
import { queueMetrics } from './queue-metrics.ts';

export interface QueueOptions {
  name: string;
  /** Does what is to be done for a key; throwing brings the key back. */
  work: (key: string, signal: AbortSignal) => Promise<void>;
  log: Log;
  /** Keys worked on at once. Default 4. */
  concurrency?: number;
  /** Delay after the first failure and the longest, milliseconds. Defaults 5 and 30,000. */
  retry?: { first: number; longest: number };
  metrics?: Metrics;
  clock?: Clock;
}

export interface Queue {
  add(key: string): void;
  /** Adds the key after `ms`; an earlier time for the same key wins. */
  addAfter(key: string, ms: number): void;
  /** Works until the signal aborts, then waits for what is being worked on. */
  run(signal: AbortSignal): Promise<void>;
  /** Keys that wait now, those that wait for a time not counted. */
  readonly depth: number;
  /** True when nothing waits and nothing is worked on. */
  readonly idle: boolean;
}

/** Longest delay, milliseconds, while no server answers: when it is back, work is due at once. */
const UNREACHABLE_MS = 1000;

export function createQueue(options: QueueOptions): Queue {
  const { name, work, log, concurrency = 4, clock = systemClock } = options;
  const metrics = queueMetrics(options.metrics, name);
  const { first, longest } = options.retry ?? { first: 5, longest: 30_000 };
  /** Waiting keys in order, with the time they were added. */
  const waiting = new Map<string, number>();
  const active = new Set<string>();
  const dirty = new Set<string>();
  const failures = new Map<string, number>();
  const timers = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  const working = new Set<Promise<void>>();
  let signal: AbortSignal | undefined;

  function add(key: string): void {
    if (active.has(key)) {
      dirty.add(key);
      return;
    }
    if (waiting.has(key)) return;
    waiting.set(key, clock.monotonic());
    metrics.added();
    metrics.depth(waiting.size);
    fill();
  }

  function addAfter(key: string, ms: number): void {
    if (ms <= 0) return add(key);
    const at = clock.monotonic() + ms;
    const known = timers.get(key);
    if (known && known.at <= at) return;
    clearTimeout(known?.timer);
    const timer = setTimeout(() => {
      timers.delete(key);
      add(key);
    }, ms);
    timers.set(key, { at, timer });
  }

  function fill(): void {
    if (!signal || signal.aborted) return;
    for (const [key, since] of waiting) {
      if (active.size >= concurrency) return;
      waiting.delete(key);
      metrics.depth(waiting.size);
      metrics.waited((clock.monotonic() - since) / 1000);
      active.add(key);
      const done = handle(key, signal);
      working.add(done);
      void done.finally(() => working.delete(done));
    }
  }

  async function handle(key: string, signal: AbortSignal): Promise<void> {
    await workOn(key, signal);
    active.delete(key);
    if (dirty.delete(key)) add(key);
    fill();
  }

  async function workOn(key: string, signal: AbortSignal): Promise<void> {
    const started = clock.monotonic();
    try {
      // Yields first: `add` returns before any work starts.
      await Promise.resolve();
      await work(key, signal);
      failures.delete(key);
    } catch (error) {
      if (!signal.aborted) failed(key, error);
    } finally {
      metrics.worked((clock.monotonic() - started) / 1000);
    }
  }

  function failed(key: string, error: unknown): void {
    const count = failures.get(key) ?? 0;
    failures.set(key, count + 1);
    metrics.retried();
    const unreachable = isUnreachable(error);
    const most = unreachable ? Math.min(longest, UNREACHABLE_MS) : longest;
    const delay = Math.min(most, first * 2 ** Math.min(count, 30));
    const fields = { queue: name, key, error: errorText(error), retryMs: delay };
    // A conflict says that the copy is behind: normal, and mended by the next event. That the server is away is
    // said by the informers, once.
    if (unreachable || isConflict(error)) log.debug('conflict; trying again', fields);
    else log.warn('work failed; trying again', fields);
    addAfter(key, delay);
  }

  return {
    add,
    addAfter,
    async run(given) {
      signal = given;
      fill();
      await aborted(given);
      for (const { timer } of timers.values()) clearTimeout(timer);
      timers.clear();
      await Promise.all(working);
    },
    get depth() {
      return waiting.size;
    },
    get idle() {
      return waiting.size === 0 && active.size === 0;
    },
  };
}
