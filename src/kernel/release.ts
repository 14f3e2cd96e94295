/** Which Linux this is. */
import fs from 'node:fs';

/** As `6.1.0-18-amd64`. */
export const kernelRelease = (): string => fs.readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim();

export function kernelAtLeast(major: number, minor: number): boolean {
  const [a = 0, b = 0] = kernelRelease().split('.').map(Number);
  return a > major || (a === major && b >= minor);
}
