/** fast-check as a deep check has it: each property draws twenty times as often as it asks for, anew each time. */
import fc from 'fast-check';

const TIMES = 20;
/** A property that is slow on this machine draws fewer times: a test has ten minutes. */
const LONGEST_MS = 300_000;
const OF_ITSELF = 100; // what fast-check draws where a property asks for no number

const deeper = (parameters: fc.Parameters<never> = {}): fc.Parameters<never> => ({
  interruptAfterTimeLimit: LONGEST_MS,
  ...parameters,
  numRuns: TIMES * (parameters.numRuns ?? fc.readConfigureGlobal().numRuns ?? OF_ITSELF),
});

type Run<T> = (property: fc.IRawProperty<never>, parameters?: fc.Parameters<never>) => T;
const assert: Run<unknown> = (property, parameters) => fc.assert(property, deeper(parameters));
const check: Run<unknown> = (property, parameters) => fc.check(property, deeper(parameters));

export default { ...fc, assert, check };
