/** For kernels that are emulated and machines that are busy: a suite in parts, and time for what takes longer. */
import { test, type TestContext } from 'node:test';

const [part = 1, parts = 1] = (process.env['HEDDLE_SLICE'] ?? '').split('/').map((word) => Number(word) || 1);
let count = 0;

/**
 * With `HEDDLE_SLICE=2/4` a file defines every fourth of its tests, from the second on. All slices together are all
 * tests, whatever they are called.
 */
export function slicedTest(
  what: string,
  options: { readonly skip?: string | false },
  fn: (t: TestContext) => Promise<void>,
): void {
  if (count++ % parts === part - 1) void test(what, { ...options, skip: options.skip ?? false }, fn);
}

/** `HEDDLE_PATIENCE=4`: whatever is waited for has four times as long to come. */
export const patience: number = Number(process.env['HEDDLE_PATIENCE']) || 1;

const TICK_MS = 25;

/**
 * Calls `then` when this process has run for so long: what came while a busy machine gave it no turn is still to be
 * read. At most for ten times as long by the clock of turns. Returns how to stop.
 */
export function afterSilence(ms: number, then: () => void): () => void {
  let left = Math.ceil(ms / TICK_MS);
  let turns = 10 * left;
  let last = performance.now();
  const timer = setInterval(() => {
    const took = performance.now() - last;
    last += took;
    if (took < 2 * TICK_MS) left--;
    if (left > 0 && --turns > 0) return;
    clearInterval(timer);
    then();
  }, TICK_MS);
  return () => clearInterval(timer);
}
