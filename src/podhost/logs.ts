/**
 * A pod's log, the older files first; followed until the reader goes away. Whoever writes renames `<path>` to `<path>.1`,
 * that to `<path>.2` and so on, and begins `<path>` anew: a file that was opened stays the same file.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { systemClock } from '../lib/clock.ts';
import { errnoCode } from '../lib/errors.ts';

export interface LogRead {
  path: string;
  /** Only the last lines. */
  tail?: number;
  follow?: boolean;
}

/** Milliseconds between looks at a followed file. */
const POLL_MS = 200;
const CHUNK = 64 * 1024;
/** Files of a log at most, the one that is written among them: a kubelet's containerLogMaxFiles. */
export const LOG_FILES = 5;

type Write = (chunk: Buffer) => Promise<void>;

interface Part {
  file: FileHandle;
  inode: number;
  /** Bytes that were read. */
  at: number;
}

/** Of a log, whether they are there or not; the newest first. */
export const logPaths = (path: string): string[] =>
  Array.from({ length: LOG_FILES }, (_, age) => (age === 0 ? path : `${path}.${age}`));

export async function readLog(read: LogRead, write: Write, signal: AbortSignal): Promise<void> {
  const parts = await openParts(read.path, () => true);
  try {
    await (read.tail === undefined ? writeAll(parts, write) : writeTail(parts, read.tail, write));
    while (read.follow && !signal.aborted) {
      await systemClock.sleep(POLL_MS, signal).catch(() => {});
      await readMore(read.path, parts, write);
    }
  } finally {
    await closeAll(parts);
  }
}

/**
 * The newest first, up to the first that is not `wanted`. From new to old: a file that is renamed meanwhile is met again,
 * and none is missed.
 */
async function openParts(path: string, wanted: (inode: number) => boolean): Promise<Part[]> {
  const parts: Part[] = [];
  for (const one of logPaths(path)) {
    const file = await open(one).catch(ignoreMissing);
    if (!file) continue;
    const { ino } = await file.stat();
    const isNew = parts.every(({ inode }) => inode !== ino);
    if (isNew && wanted(ino)) parts.push({ file, inode: ino, at: 0 });
    else await file.close();
    if (!wanted(ino)) break;
  }
  return parts;
}

async function closeAll(parts: readonly Part[]): Promise<void> {
  for (const { file } of parts) await file.close();
}

/** What was appended since, through every file that has come since; `parts` then is the newest alone. */
async function readMore(path: string, parts: Part[], write: Write): Promise<void> {
  const last = parts[0];
  const newer = await openParts(path, (inode) => inode !== last?.inode);
  // Whoever writes has left it by the time that another file is there.
  if (last) await drain(last, write);
  if (newer.length === 0) return;
  await closeAll(parts);
  parts.splice(0, parts.length, ...newer);
  await writeAll(newer, write);
}

async function writeAll(parts: readonly Part[], write: Write): Promise<void> {
  for (const part of parts.toReversed()) await drain(part, write);
}

/** Up to its end. */
async function drain(part: Part, write: Write): Promise<void> {
  const { size } = await part.file.stat();
  // Cut short by whoever keeps it in its place.
  if (size < part.at) part.at = 0;
  for (;;) {
    const buffer = Buffer.allocUnsafe(CHUNK);
    const { bytesRead } = await part.file.read(buffer, 0, buffer.length, part.at);
    if (bytesRead === 0) return;
    part.at += bytesRead;
    await write(buffer.subarray(0, bytesRead));
  }
}

/** The last lines of all together; no older file is read than holds some of them. */
async function writeTail(parts: readonly Part[], count: number, write: Write): Promise<void> {
  const found: Buffer[] = [];
  let missing = count;
  for (const part of parts) {
    const chunks: Buffer[] = [];
    await drain(part, async (chunk) => void chunks.push(chunk));
    const text = Buffer.concat(chunks);
    if (missing > 0) found.unshift(lastLines(text, missing));
    missing -= countLines(text);
    if (missing <= 0) break;
  }
  for (const text of found) await write(text);
}

function ignoreMissing(error: unknown): undefined {
  if (errnoCode(error) !== 'ENOENT') throw error;
  return undefined;
}

function countLines(text: Buffer): number {
  let count = 0;
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) count++;
  return count;
}

export function lastLines(text: Buffer, count: number): Buffer {
  if (count <= 0) return Buffer.alloc(0);
  let at = text.length - (text.at(-1) === 10 ? 1 : 0);
  for (let found = 0; at > 0; found++) {
    const before = text.lastIndexOf(10, at - 1);
    if (before < 0) return text;
    at = before;
    if (found + 1 === count) return text.subarray(before + 1);
  }
  return text;
}
