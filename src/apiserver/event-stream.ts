/**
 * Lines to one watcher. The first goes out at once; those that follow within 20 ms go together, because a
 * write for each takes a whole core at 500 watchers. A watcher that does not read is cut off: it comes back
 * and resumes where it was.
 */
import type { ServerResponse } from 'node:http';

export interface EventStream {
  push(line: Buffer): void;
  /** As push, but its bytes do not count against a slow reader: what exists may be large. */
  pushInitial(line: Buffer): void;
  /** Sends what is left and ends the response. */
  end(): void;
  readonly ended: Promise<void>;
}

export const BATCH_MS = 20;
/** Bytes that may wait for a slow reader. */
export const MAX_WAITING = 16 * 1024 * 1024;

export function createEventStream(response: ServerResponse, maxWaiting = MAX_WAITING): EventStream {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let allowed = maxWaiting;
  let over = false;
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  response.once('close', () => {
    over = true;
    clearTimeout(timer);
    waiting = [];
    resolve();
  });

  response.on('drain', () => {
    allowed = maxWaiting;
  });

  const flush = () => {
    if (waiting.length > 0) {
      response.write(waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting));
      waiting = [];
      waitingBytes = 0;
    }
  };
  const tick = () => {
    timer = undefined;
    if (waiting.length === 0) return;
    flush();
    timer = setTimeout(tick, BATCH_MS);
  };
  const push = (line: Buffer) => {
    if (over) return;
    waiting.push(line);
    waitingBytes += line.length;
    if (waitingBytes + response.writableLength > allowed) {
      over = true;
      response.destroy();
    } else if (timer === undefined) {
      // After this turn: all events of one commit in one write.
      timer = setTimeout(tick, BATCH_MS);
      queueMicrotask(flush);
    }
  };
  return {
    ended,
    push,
    pushInitial(line) {
      allowed += line.length;
      push(line);
    },
    end() {
      if (over) return;
      over = true;
      clearTimeout(timer);
      flush();
      response.end();
    },
  };
}
