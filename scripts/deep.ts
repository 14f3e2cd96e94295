/** Imported before each test file by scripts/check-deep: properties are drawn twenty times as often. */
import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), numRuns: 2000 });
