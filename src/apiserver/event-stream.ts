/**
 * Lines to one watcher. The first goes out at once; those that follow within 20 ms go together, because a
 * write for each takes a whole core at 500 watchers. What the socket has not taken stays here as lines that
 * all watchers share. A watcher that does not read is cut off: it comes back and resumes where it was.
 */
import type { ServerResponse } from 'node:http';

export interface EventStream {
  push(line: Buffer): void;
  /** Sends what is left and ends the response. */
  end(): void;
  readonly ended: Promise<void>;
}

const BATCH_MS = 20;
/** Bytes of events that may wait for a slow reader. */
export const MAX_WAITING = 16 * 1024 * 1024;
/** Bytes handed to the socket at once. */
const SLICE = 256 * 1024;

/** `initial` is sent before anything pushed, and read only as fast as the watcher reads. */
export function createEventStream(
  response: ServerResponse,
  initial: Iterable<Buffer> = [],
  maxWaiting = MAX_WAITING,
): EventStream {
  const first = initial[Symbol.iterator]();
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let firstDone = false;
  let timer: NodeJS.Timeout | undefined;
  let state: 'open' | 'ending' | 'closed' = 'open';
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  response.once('close', () => {
    state = 'closed';
    clearTimeout(timer);
    waiting = [];
    resolve();
  });

  const nextLine = (): Buffer | undefined => {
    if (!firstDone) {
      const next = first.next();
      if (next.done !== true) return next.value;
      firstDone = true;
    }
    return undefined;
  };
  const slice = (): Buffer[] => {
    const lines: Buffer[] = [];
    let bytes = 0;
    for (let line = nextLine(); line; line = bytes < SLICE ? nextLine() : undefined) {
      lines.push(line);
      bytes += line.length;
    }
    if (!firstDone) return lines;
    let count = 0;
    while (count < waiting.length && bytes < SLICE) bytes += waiting[count++]!.length;
    const taken = waiting.splice(0, count);
    for (const { length } of taken) waitingBytes -= length;
    return [...lines, ...taken];
  };
  const writable = () => state !== 'closed' && !response.writableNeedDrain;
  const flush = () => {
    while (writable()) {
      const lines = slice();
      if (lines.length === 0) {
        if (state === 'ending') response.end();
        return;
      }
      response.write(lines.length === 1 ? lines[0]! : Buffer.concat(lines));
    }
  };
  response.on('drain', flush);

  const tick = () => {
    timer = undefined;
    if (waiting.length === 0) return;
    flush();
    timer = setTimeout(tick, BATCH_MS);
  };
  queueMicrotask(flush);
  return {
    ended,
    push(line) {
      if (state !== 'open') return;
      waiting.push(line);
      waitingBytes += line.length;
      if (waitingBytes > maxWaiting) {
        state = 'closed';
        response.destroy();
      } else if (timer === undefined) {
        // After this turn: all events of one commit in one write.
        timer = setTimeout(tick, BATCH_MS);
        queueMicrotask(flush);
      }
    },
    end() {
      if (state !== 'open') return;
      state = 'ending';
      clearTimeout(timer);
      flush();
    },
  };
}
