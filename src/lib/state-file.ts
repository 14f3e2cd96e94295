/** One JSON document on disk: replaced whole before a save is acknowledged, many savers to one write. */
import { mkdirSync, renameSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoCode, errorText, HeddleError } from './errors.ts';
import { replaceFile, replaceFileNow } from './files.ts';
import type { Log } from './log.ts';

export interface StateFile<T> {
  /** Undefined when there is none yet. @throws HeddleError `BadState` when it cannot be understood. */
  load(): Promise<T | undefined>;
  /** The same for what can be found out otherwise: one that is damaged is set aside, with a warning, as if there were none. */
  loadWhole(log: Pick<Log, 'warn'>, rebuilt: string): Promise<T | undefined>;
  /** Resolves when a document taken from `current()` after this call is on disk. */
  save(current: () => T): Promise<void>;
  /** Resolves when no write is under way or waiting, however they ended. */
  idle(): Promise<void>;
}

export interface StateFileOptions {
  /** Whether what was read is what `save` writes; anything that is JSON without. */
  readonly isWhole?: (value: unknown) => boolean;
  /**
   * Whether what is saved survives a power cut, or only the end of the process. Default true. What is about the kernel's
   * state, which a power cut ends too, need not.
   */
  readonly synced?: boolean;
}

export function createStateFile<T>(
  path: string,
  { synced = true, isWhole = () => true }: StateFileOptions = {},
): StateFile<T> {
  let writing: Promise<void> | undefined;
  let queued: Promise<void> | undefined;
  let made = false;

  async function write(current: () => T): Promise<void> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, JSON.stringify(current()), { mode: 0o600, synced: true });
  }

  function saveNow(current: () => T): void {
    if (!made) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    made = true;
    replaceFileNow(path, JSON.stringify(current()), 0o600);
  }

  async function start(current: () => T): Promise<void> {
    writing = write(current);
    try {
      await writing;
    } finally {
      writing = undefined;
    }
  }

  async function load(): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    let cause: unknown;
    try {
      const value: unknown = JSON.parse(text);
      if (isWhole(value)) return value as T;
    } catch (error) {
      cause = error;
    }
    throw new HeddleError('BadState', `${path} is not the JSON that Heddle wrote there`, {
      hint: 'the disk may have been full or the file edited; move it away, it is rebuilt from live pods',
      ...(cause === undefined ? {} : { cause }),
    });
  }

  return {
    load,
    async loadWhole(log, rebuilt) {
      try {
        return await load();
      } catch (error) {
        setAside(path, { log, rebuilt, error });
        return undefined;
      }
    },
    async idle() {
      const last = () => queued ?? writing;
      for (let write = last(); write; write = last()) await write.catch(() => {});
    },
    async save(current) {
      if (!synced) return saveNow(current);
      if (!writing) return start(current);
      queued ??= writing
        .catch(() => {})
        .then(() => {
          queued = undefined;
          return start(current);
        });
      return queued;
    },
  };
}

/** Kept for whoever wants to know what became of it. Where it cannot be moved, saving says so. */
export function setAside(
  path: string,
  { log, rebuilt, error }: { log: Pick<Log, 'warn'>; rebuilt: string; error: unknown },
): void {
  const aside = `${path}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  const words = { file: path, error: errorText(error) };
  try {
    renameSync(path, aside);
    log.warn(`a damaged file is set aside; ${rebuilt}`, { ...words, aside });
  } catch (failure) {
    log.warn(`a damaged file cannot be set aside; ${rebuilt}`, { ...words, why: errorText(failure) });
  }
}
