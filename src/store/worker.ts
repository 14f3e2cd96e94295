/** The thread that owns the file: it answers each batch when it is on disk. */
import { parentPort, workerData } from 'node:worker_threads';
import { errorText, HeddleError } from '../lib/errors.ts';
import { type Batch, type Database, openDatabase, type Row, SQLITE_FULL, sqliteCode } from './database.ts';

export interface WorkerOptions {
  readonly path: string;
  readonly maxPages?: number;
  readonly busyTimeout?: number;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

export type ToWorker = { readonly batch: Batch } | 'close';
export type FromWorker =
  | { readonly loaded: readonly Row[] }
  | { readonly opened: { readonly compacted: number } }
  | { readonly done: true }
  | { readonly failed: Failure }
  | { readonly closed: true };

const ROWS_PER_MESSAGE = 2000;

function main(port: NonNullable<typeof parentPort>, options: WorkerOptions): void {
  const send = (message: FromWorker) => port.postMessage(message);
  let db: Database;
  try {
    db = openDatabase(options.path, options);
    load(db, send);
  } catch (error) {
    send({ failed: asFailure(error, options.path) });
    port.close();
    return;
  }
  port.on('message', (message: ToWorker) => {
    if (message === 'close') {
      db.close();
      send({ closed: true });
      port.close();
      return;
    }
    try {
      db.commit(message.batch);
      send({ done: true });
    } catch (error) {
      send({ failed: asFailure(error, options.path) });
    }
  });
}

function load(db: Database, send: (message: FromWorker) => void): void {
  let rows: Row[] = [];
  for (const row of db.rows()) {
    rows.push(row);
    if (rows.length < ROWS_PER_MESSAGE) continue;
    send({ loaded: rows });
    rows = [];
  }
  send({ loaded: rows });
  send({ opened: { compacted: db.compacted() } });
}

/** Errors lose their class on the way to the main thread: it makes them anew. */
function asFailure(error: unknown, path: string): Failure {
  const { code, message, hint } = error instanceof HeddleError ? error : writeError(error, path);
  return { code, message, hint };
}

function writeError(error: unknown, path: string): HeddleError {
  if (sqliteCode(error) === SQLITE_FULL)
    return new HeddleError(
      'StoreFull',
      `writing to the store ${path}: no room on the disk, or the store's limit is reached`,
      {
        hint: 'free space on its file system; nothing was changed, and writes work again once there is room',
      },
    );
  return new HeddleError('StoreFailed', `writing to the store ${path}: ${errorText(error)}`, {
    hint: 'the disk reported an error; the API server ends, and reads the file anew when it is started again',
  });
}

if (parentPort) main(parentPort, workerData as WorkerOptions);
