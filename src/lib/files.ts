import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Replaces a file whole or not at all, and survives a power cut after it returns. `mode` as in chmod. */
export function writeFileAtomic(path: string, data: string | Uint8Array, mode: number): void {
  const fresh = `${path}.new-${process.pid}`;
  try {
    const fd = openSync(fresh, 'w', mode);
    try {
      fchmodSync(fd, mode); // the umask must not widen or narrow it
      writeFileSync(fd, data);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
