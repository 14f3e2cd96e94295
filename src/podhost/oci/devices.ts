/** The machine's devices, for containers that are privileged (runtime-spec 1.0.2, config-linux "Devices"). */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** A container has its own of these, or none. */
const NOT = new Set([
  '/dev/pts',
  '/dev/shm',
  '/dev/mqueue',
  '/dev/fd',
  '/dev/console',
  '/dev/ptmx',
  '/dev/tty',
]);

interface Device {
  path: string;
  type: 'c' | 'b';
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
}

/** Sorted by path; what goes while it is looked at is none. */
export function hostDevices(folder = '/dev'): Device[] {
  const names = readdirSync(folder).toSorted();
  return names.flatMap((name) => {
    const path = join(folder, name);
    const found = NOT.has(path) ? undefined : lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) return hostDevices(path);
    if (!found?.isCharacterDevice() && !found?.isBlockDevice()) return [];
    return [
      {
        path,
        type: found.isBlockDevice() ? ('b' as const) : ('c' as const),
        ...numbersOf(found.rdev),
        fileMode: found.mode & 0o7777,
        uid: found.uid,
        gid: found.gid,
      },
    ];
  });
}

/** As glibc packs them into a dev_t: makedev(3). */
function numbersOf(rdev: number): { major: number; minor: number } {
  const bits = BigInt(rdev);
  return {
    major: Number(((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xffff_f000n)),
    minor: Number((bits & 0xffn) | ((bits >> 12n) & 0xffff_ff00n)),
  };
}
