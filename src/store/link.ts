/** The main thread's end of the worker: one batch at a time, and its failures as errors. */
import { Worker } from 'node:worker_threads';
import { errorText, HeddleError } from '../lib/errors.ts';
import type { Row } from './database.ts';
import type { Compaction } from './state.ts';
import type { Failure, FromWorker, ToWorker, WorkerOptions } from './worker.ts';

export interface Link {
  readonly compacted: number;
  /** Aborts for good when the disk or the worker fails otherwise than by being full. */
  readonly failed: AbortSignal;
  /** Resolves when the rows are on disk. One call at a time. */
  commit(rows: readonly Row[], compaction: Compaction | undefined): Promise<void>;
  close(): Promise<void>;
}

/** Rows are given to `onRow` in order of revision before this resolves. */
export async function openLink(options: WorkerOptions, onRow: (row: Row) => void): Promise<Link> {
  const { path, maxPages, busyTimeout } = options;
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    // Not those of the main thread: some of them (--input-type) do not apply to a file.
    execArgv: [],
    workerData: { path, maxPages, busyTimeout } satisfies WorkerOptions,
  });
  const failing = new AbortController();
  let waiting = Promise.withResolvers<FromWorker>();
  worker.on('message', (message: FromWorker) => {
    if ('loaded' in message) for (const row of message.loaded) onRow(row);
    else waiting.resolve(message);
  });
  let closing = false;
  const lost = (words: string) => {
    if (closing) return;
    const error = new HeddleError('StoreFailed', `writing to the store ${path}: ${words}`);
    failing.abort(error);
    waiting.reject(error);
    // A rejection nobody waits for is no news: `failed` has told it.
    waiting.promise.catch(() => {});
  };
  worker.on('error', (error) => lost(`its thread failed: ${errorText(error)}`));
  worker.on('exit', () => lost('its thread ended'));

  const answer = async (): Promise<FromWorker> => {
    const message = await waiting.promise;
    waiting = Promise.withResolvers<FromWorker>();
    if ('failed' in message) throw asError(message.failed);
    return message;
  };
  const ask = (message: ToWorker) => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    worker.postMessage(message);
    return answer();
  };

  const opened = await answer();
  let compaction: Compaction | undefined;
  return {
    compacted: 'opened' in opened ? opened.opened.compacted : 0,
    failed: failing.signal,
    async commit(rows, more) {
      if (failing.signal.aborted) throw failing.signal.reason as Error;
      compaction = join(compaction, more);
      try {
        await ask({ batch: compaction ? { rows, compaction } : { rows } });
        compaction = undefined;
      } catch (error) {
        if (!(error instanceof HeddleError) || error.code !== 'StoreFull') failing.abort(error);
        throw error;
      }
    },
    async close() {
      closing = true;
      if (!failing.signal.aborted) await ask('close');
      await worker.terminate();
    },
  };
}

/** A compaction that failed (no room) is tried again with the next batch. */
function join(a: Compaction | undefined, b: Compaction | undefined): Compaction | undefined {
  if (!a || !b) return a ?? b;
  return { revision: b.revision, drop: [...a.drop, ...b.drop] };
}

const asError = ({ code, message, hint }: Failure) =>
  new HeddleError(code, message, hint === undefined ? {} : { hint });
