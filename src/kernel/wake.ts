/** To be woken at a moment, to the microsecond (timerfd_create(2)): Node's own timers know milliseconds. */
import fs from 'node:fs';
import { libc, systemError, watchFd } from './ffi.ts';

const CLOCK_MONOTONIC = 1;
/** TFD_NONBLOCK | TFD_CLOEXEC */
const FLAGS = 0o2004000;

export interface Wake {
  /** Once, in so many milliseconds (fractions count); in place of what was set before. */
  in(ms: number): void;
  close(): void;
}

/** @throws HeddleError `Kernel` */
export function createWake(onWake: () => void): Wake {
  const fd = libc.timerfd_create(CLOCK_MONOTONIC, FLAGS);
  if (fd < 0) throw systemError('make a timer');
  const value = Buffer.alloc(32);
  const count = Buffer.alloc(8);
  let open = true;
  const watch = watchFd(fd, 'readable', () => {
    if (open && libc.read(fd, count, 8) === 8) onWake();
  });
  return {
    in(ms) {
      // Zero would disarm it.
      const nanoseconds = BigInt(Math.max(1, Math.round(ms * 1e6)));
      value.writeBigInt64LE(nanoseconds / 1_000_000_000n, 16);
      value.writeBigInt64LE(nanoseconds % 1_000_000_000n, 24);
      if (open) libc.timerfd_settime(fd, 0, value, null);
    },
    close() {
      if (!open) return;
      open = false;
      watch.close();
      setImmediate(() => fs.closeSync(fd));
    },
  };
}
