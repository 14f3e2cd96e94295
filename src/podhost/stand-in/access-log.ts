/** A pod's log: whole lines, gathered for a moment, appended; one older file is kept. */
import { appendFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export interface AccessLog {
  write(line: string): void;
  /** Resolves when everything written so far is in the file. */
  close(): Promise<void>;
}

export interface AccessLogOptions {
  path: string;
  /** Bytes at which the file becomes `<path>.1`. Default 1 MiB. */
  maxBytes?: number;
  /** Bytes that wait at most; what is beyond is dropped and counted in a line. Default 256 KiB. */
  maxPending?: number;
  /** Milliseconds that lines are gathered. Default 50. */
  gatherMs?: number;
  onError?(error: unknown): void;
}

export function createAccessLog(options: AccessLogOptions): AccessLog {
  const { path, maxBytes = 1 << 20, maxPending = 256 << 10, gatherMs = 50, onError = () => {} } = options;
  let lines: string[] = [];
  let pending = 0;
  let dropped = 0;
  let size: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let working: Promise<void> = Promise.resolve();

  async function flush(): Promise<void> {
    timer = undefined;
    if (dropped > 0) lines.push(`… ${dropped} lines were dropped: the disk is slower than the requests\n`);
    const text = lines.join('');
    lines = [];
    pending = 0;
    dropped = 0;
    if (text === '') return;
    if (size === undefined) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      size = await stat(path).then(
        (found) => found.size,
        () => 0,
      );
    }
    if (size >= maxBytes) {
      await rename(path, `${path}.1`);
      size = 0;
    }
    await appendFile(path, text, { mode: 0o600 });
    size += Buffer.byteLength(text);
  }

  function schedule(): void {
    timer ??= setTimeout(() => {
      working = working.then(flush).catch((error: unknown) => {
        size = undefined;
        onError(error);
      });
    }, gatherMs);
  }

  return {
    write(line) {
      if (pending > maxPending) dropped++;
      else {
        lines.push(`${line}\n`);
        pending += line.length + 1;
      }
      schedule();
    },
    async close() {
      clearTimeout(timer);
      working = working.then(flush).catch(onError);
      await working;
    },
  };
}
