/**
 * Imported before each test file by scripts/check-deep. What the tests import as fast-check is deep-fast-check.ts, which
 * draws more: the numbers that properties ask for are their own, and no configuration reaches them.
 */
import { registerHooks } from 'node:module';

const deep = new URL('deep-fast-check.ts', import.meta.url).href;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'fast-check' && context.parentURL !== deep
      ? { url: deep, shortCircuit: true }
      : next(specifier, context),
});
