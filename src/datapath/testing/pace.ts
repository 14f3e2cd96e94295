/** For kernels that are emulated: a suite in parts, and time for what takes ten times as long. */
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
