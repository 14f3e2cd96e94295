/** For a process whose work is of little length and must not wait. */
import { setFlagsFromString } from 'node:v8';
import { libc } from './ffi.ts';

/** SCHED_RR; children start as others do (SCHED_RESET_ON_FORK). */
const POLICY = 2 | 0x40000000;
/** The least of those that go before all without one. */
const PRIORITY = 1;

/**
 * From now on this thread runs as soon as it can, before all that is not of its kind (sched(7)); the kernel leaves others
 * a twentieth of each processor. False where it may not.
 */
export function runPunctually(): boolean {
  // Helpers of the collector would be waited for, and they are not preferred.
  setFlagsFromString('--single-threaded-gc');
  const parameters = Buffer.alloc(4);
  parameters.writeInt32LE(PRIORITY);
  return libc.sched_setscheduler(0, POLICY, parameters) === 0;
}
