/**
 * Imported before each test file by scripts/test: properties draw the same cases in each run, so that a run tells
 * about the code alone. scripts/check-deep draws others each time, and more of them.
 */
import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 20_261_123 });
