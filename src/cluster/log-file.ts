/**
 * Logs of the cluster's processes. A process writes to the file itself: a pipe to the supervisor would take it
 * down with the supervisor. So rotation copies and truncates; lines written in between are lost.
 */
import { copyFileSync, openSync, rmSync, statSync, truncateSync } from 'node:fs';
import { errnoCode } from '../lib/errors.ts';

/** Bytes; one older file of that size is kept as `.1`. */
const MAX_SIZE = 10 << 20;

/** A descriptor that appends; whoever gets it closes it. */
export const openLog = (path: string): number => openSync(path, 'a', 0o600);

/** Call now and then. False where nothing was due. */
export function rotateLog(path: string, maxSize: number = MAX_SIZE): boolean {
  try {
    if (statSync(path).size <= maxSize) return false;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    copyFileSync(path, `${path}.1`);
  } catch {
    // The disk is full: half of an old log is worth less than the room.
    rmSync(`${path}.1`, { recursive: true, force: true });
  }
  truncateSync(path);
  return true;
}
