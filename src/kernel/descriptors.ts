/** Descriptors that programs started by this process would inherit. */
import fs from 'node:fs';
import { libc } from './ffi.ts';

const FIOCLEX = 0x5451;
const nothing = Buffer.alloc(8);

/**
 * Marks all of this process's descriptors but 0, 1 and 2 as not for its children: those that it was itself started
 * with, and those of libraries that do not ask for O_CLOEXEC. `spawn`'s `stdio` still hands on what it names.
 */
export function keepDescriptors(): void {
  for (const name of fs.readdirSync('/proc/self/fd')) {
    const fd = Number(name);
    if (fd > 2) libc.ioctl(fd, FIOCLEX, nothing);
  }
}
