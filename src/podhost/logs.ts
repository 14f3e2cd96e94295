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
  /** The reader wants no more, whatever there is. */
  enough?(): boolean;
}

/** Milliseconds between looks at a followed file. */
const POLL_MS = 200;
const CHUNK = 64 * 1024;
const NEWLINE = 10;
/** Files of a log at most, the one that is written among them: a kubelet's containerLogMaxFiles. */
export const LOG_FILES = 5;

type Write = (chunk: Buffer) => Promise<void>;

interface Part {
  file: FileHandle;
  inode: number;
  /** Bytes that were read, or passed over. */
  at: number;
  /** Bytes that there were when it was opened. */
  size: number;
}

/** Of a log, whether they are there or not; the newest first. */
export const logPaths = (path: string): string[] =>
  Array.from({ length: LOG_FILES }, (_, age) => (age === 0 ? path : `${path}.${age}`));

/** What there is when it begins; with `follow` what comes then as well, until `signal`. */
export async function readLog(read: LogRead, write: Write, signal: AbortSignal): Promise<void> {
  const { path, tail, enough = () => false } = read;
  const parts = await openParts(path, () => true);
  const take = async (part: Part, end: number) => {
    await drain(part, end, write, enough);
  };
  try {
    if (tail !== undefined) await passOver(parts, tail);
    for (const part of parts.toReversed()) await take(part, part.size);
    while (read.follow && !signal.aborted && !enough()) {
      await systemClock.sleep(POLL_MS, signal).catch(() => {});
      await readMore(path, parts, take);
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
    const { ino, size } = await file.stat();
    const isNew = parts.every(({ inode }) => inode !== ino);
    if (isNew && wanted(ino)) parts.push({ file, inode: ino, at: 0, size });
    else await file.close();
    if (!wanted(ino)) break;
  }
  return parts;
}

async function closeAll(parts: readonly Part[]): Promise<void> {
  for (const { file } of parts) await file.close();
}

/** What was appended since, through every file that has come since; `parts` then is the newest alone. */
async function readMore(
  path: string,
  parts: Part[],
  take: (part: Part, end: number) => Promise<void>,
): Promise<void> {
  const last = parts[0];
  const newer = await openParts(path, (inode) => inode !== last?.inode);
  parts.unshift(...newer);
  // Whoever writes has left it by the time that another file is there.
  if (last) await take(last, Infinity);
  for (const part of newer.toReversed()) await take(part, Infinity);
  await closeAll(parts.splice(1));
}

/** Up to its end, or to byte `end`. */
async function drain(part: Part, end: number, write: Write, enough: () => boolean): Promise<void> {
  const { size } = await part.file.stat();
  // Cut short by whoever keeps it in its place.
  if (size < part.at) part.at = 0;
  while (part.at < end && !enough()) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, end - part.at));
    const { bytesRead } = await part.file.read(buffer, 0, buffer.length, part.at);
    if (bytesRead === 0) return;
    part.at += bytesRead;
    await write(buffer.subarray(0, bytesRead));
  }
}

/** All but the last lines of all together; read from the end, and no more of it than those. */
async function passOver(parts: readonly Part[], lines: number): Promise<void> {
  // The end of the last line is none between lines.
  let missing = lines;
  let isLast = true;
  for (const part of parts) {
    part.at = part.size;
    if (missing === 0) continue;
    const { at, found } = await startOf(part, missing, isLast);
    part.at = at;
    missing -= found;
    if (part.size > 0) isLast = false;
  }
}

/** Where the line begins that has `lines` ends of lines at or behind it, or 0 if there are fewer, and how many. */
async function startOf(
  { file, size }: Part,
  lines: number,
  isLast: boolean,
): Promise<{ at: number; found: number }> {
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, size));
  let found = 0;
  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - CHUNK);
    const { bytesRead } = await file.read(buffer, 0, end - begin, begin);
    const block = buffer.subarray(0, bytesRead);
    const last = isLast && end === size && block.at(-1) === NEWLINE ? block.length - 2 : block.length - 1;
    for (let at = lastIndexOf(block, last); at >= 0; at = lastIndexOf(block, at - 1)) {
      found++;
      if (found === lines) return { at: begin + at + 1, found };
    }
    end = begin;
  }
  return { at: 0, found };
}

/** A negative place would count from the end. */
const lastIndexOf = (block: Buffer, from: number): number =>
  from < 0 ? -1 : block.lastIndexOf(NEWLINE, from);

function ignoreMissing(error: unknown): undefined {
  if (errnoCode(error) !== 'ENOENT') throw error;
  return undefined;
}
