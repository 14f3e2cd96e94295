/**
 * The file: an append-only history of (revision, key, value), where null is a deletion. The state is the
 * last row of each key; compaction removes rows that a later row, itself compacted, has replaced.
 * Synchronous; runs in the worker.
 */
import { DatabaseSync } from 'node:sqlite';
import { errorText, HeddleError } from '../lib/errors.ts';

export interface Row {
  readonly revision: number;
  readonly key: string;
  readonly value: string | null;
}

export interface Batch {
  readonly rows: readonly Row[];
  /** Forget history up to this revision: `drop` are the rows that went out of use by it. */
  readonly compaction?: { readonly revision: number; readonly drop: readonly number[] };
}

export interface Database {
  compacted(): number;
  rows(): Iterable<Row>;
  /** One transaction, on disk when this returns. @throws SQLite's error, with nothing written */
  commit(batch: Batch): void;
  close(): void;
}

/** "HEDL" in ASCII: refuses other people's SQLite files. */
const APPLICATION_ID = 0x4845444c;
const FORMAT = 1;

/** @throws HeddleError `StoreBusy`, `StoreCorrupt`, `StoreFormat`, `StoreOpen` */
export function openDatabase(path: string, options: { maxPages?: number; busyTimeout?: number }): Database {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    // Exclusive: a second opener fails at once, and WAL needs no shared memory file.
    db.exec(`PRAGMA busy_timeout=${options.busyTimeout ?? 3000}; PRAGMA locking_mode=EXCLUSIVE`);
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY');
    // Takes the lock now and keeps it.
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    checkFormat(db, path);
    if (options.maxPages !== undefined) db.exec(`PRAGMA max_page_count=${options.maxPages}`);
    return operations(db);
  } catch (error) {
    db?.close();
    throw openError(path, error);
  }
}

function checkFormat(db: DatabaseSync, path: string): void {
  const number = (pragma: string) => Number(Object.values(db.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]);
  const [id, format] = [number('application_id'), number('user_version')];
  if (id === 0 && format === 0 && number('page_count') <= 1) {
    db.exec(`
      BEGIN;
      CREATE TABLE history(revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value TEXT) STRICT;
      CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
      INSERT INTO meta VALUES ('compacted', 0);
      PRAGMA application_id=${APPLICATION_ID};
      PRAGMA user_version=${FORMAT};
      COMMIT`);
    return;
  }
  if (id !== APPLICATION_ID || format !== FORMAT)
    throw new HeddleError(
      'StoreFormat',
      `opening the store ${path}: expected a Heddle store of format ${FORMAT}, found application id ${id}, format ${format}`,
      { hint: 'the file belongs to another program or to another version of Heddle; move it away' },
    );
  const check = db.prepare('PRAGMA quick_check(1)').get();
  const verdict = String(Object.values(check ?? {})[0]);
  if (verdict !== 'ok') throw corrupt(path, verdict);
}

function operations(db: DatabaseSync): Database {
  const insert = db.prepare('INSERT INTO history(revision, key, value) VALUES (?, ?, ?)');
  const remove = db.prepare('DELETE FROM history WHERE revision = ?');
  const setCompacted = db.prepare("UPDATE meta SET value = ? WHERE name = 'compacted'");
  return {
    compacted: () => Number(db.prepare("SELECT value FROM meta WHERE name = 'compacted'").get()?.['value']),
    *rows() {
      for (const row of db.prepare('SELECT revision, key, value FROM history ORDER BY revision').iterate())
        yield { revision: Number(row['revision']), key: String(row['key']), value: text(row['value']) };
    },
    commit({ rows, compaction }) {
      db.exec('BEGIN IMMEDIATE');
      try {
        for (const row of rows) insert.run(row.revision, row.key, row.value);
        for (const revision of compaction?.drop ?? []) remove.run(revision);
        if (compaction) setCompacted.run(compaction.revision);
        db.exec('COMMIT');
      } catch (error) {
        // Some errors have rolled back already.
        if (db.isTransaction) db.exec('ROLLBACK');
        throw error;
      }
    },
    close: () => db.close(),
  };
}

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);

/** SQLite's primary result code (the low byte of the extended one), or undefined for other errors. */
export function sqliteCode(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

const SQLITE = { busy: 5, locked: 6, corrupt: 11, notADatabase: 26 } as const;
export const SQLITE_FULL = 13;

const corrupt = (path: string, words: string, cause?: unknown) =>
  new HeddleError('StoreCorrupt', `opening the store ${path}: the file is damaged (${words})`, {
    hint: 'restore a copy of it, or move it (and its -wal file) away to start with an empty cluster',
    cause,
  });

function openError(path: string, error: unknown): HeddleError {
  if (error instanceof HeddleError) return error;
  const words = errorText(error);
  switch (sqliteCode(error)) {
    case SQLITE.busy:
    case SQLITE.locked:
      return new HeddleError('StoreBusy', `opening the store ${path}: another process has it open`, {
        hint: 'another API server runs on this data directory; stop it, or choose another --data-dir',
        cause: error,
      });
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return corrupt(path, words, error);
    default:
      return new HeddleError('StoreOpen', `opening the store ${path}: ${words}`, {
        hint: 'the folder must exist and be writable, on a local file system with room',
        cause: error,
      });
  }
}
