/** A pod's log, the older file first; followed until the reader goes away. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
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

export async function readLog(
  read: LogRead,
  write: (chunk: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  let position = { inode: 0, size: 0 };
  const older = read.tail === undefined ? await readWhole(`${read.path}.1`) : await lastOfOlder(read);
  if (older.length > 0) await write(older);
  const now = await readWhole(read.path);
  position = { inode: await inodeOf(read.path), size: now.length };
  await write(read.tail === undefined ? now : lastLines(now, read.tail));
  while (read.follow && !signal.aborted) {
    await systemClock.sleep(POLL_MS, signal).catch(() => {});
    position = await readMore(read.path, position, write);
  }
}

/** What was appended since; a file that was rotated away is begun anew. */
async function readMore(
  path: string,
  from: { inode: number; size: number },
  write: (chunk: Buffer) => Promise<void>,
) {
  const found = await stat(path).catch(ignoreMissing);
  if (!found) return from;
  let size = found.ino === from.inode && found.size >= from.size ? from.size : 0;
  for await (const chunk of createReadStream(path, {
    start: size,
    highWaterMark: CHUNK,
  }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    await write(chunk);
  }
  return { inode: found.ino, size };
}

async function lastOfOlder(read: LogRead): Promise<Buffer> {
  const missing = read.tail! - countLines(await readWhole(read.path));
  return missing > 0 ? lastLines(await readWhole(`${read.path}.1`), missing) : Buffer.alloc(0);
}

async function readWhole(path: string): Promise<Buffer> {
  const file = await open(path).catch(ignoreMissing);
  if (!file) return Buffer.alloc(0);
  try {
    return await file.readFile();
  } finally {
    await file.close();
  }
}

const inodeOf = async (path: string): Promise<number> => (await stat(path).catch(ignoreMissing))?.ino ?? 0;

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
