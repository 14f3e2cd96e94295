import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface ReplaceOptions {
  /** As in chmod; the umask does not change it. */
  mode: number;
  /** Whether it survives a power cut once this has resolved. Without, it survives the end of the process. */
  synced: boolean;
}

/** Replaces a file whole or not at all, by way of `<path>.new`. One caller at a time for a path. */
export async function replaceFile(path: string, data: string, options: ReplaceOptions): Promise<void> {
  const { mode, synced } = options;
  const fresh = `${path}.new`;
  try {
    const file = await open(fresh, 'w', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(data);
      if (synced) await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
  if (synced) await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * The same at once and unsynced: for small files in the way of somebody who waits, which need not survive a power cut.
 * Half the time of the other is spent on the way to threads and back.
 */
export function replaceFileNow(path: string, data: string, mode: number): void {
  const fresh = `${path}.new`;
  try {
    writeFileSync(fresh, data, { mode });
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}
