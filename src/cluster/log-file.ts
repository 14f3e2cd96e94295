/**
 * Logs of the cluster's processes. A process writes to the file itself: a pipe to the supervisor would take it
 * down with the supervisor. So rotation copies and truncates; lines written in between are lost.
 */
import { copyFileSync, openSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { errnoCode, errorText } from '../lib/errors.ts';

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

/** The end of a log, for the hint of an error. */
export function lastWords(path: string): string {
  try {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-12);
    return `its log ends with:\n    ${lines.join('\n    ')}`;
  } catch (error) {
    return `its log cannot be read: ${errorText(error)}`;
  }
}
