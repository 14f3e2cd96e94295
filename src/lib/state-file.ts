/** One JSON document on disk: replaced whole before a save is acknowledged, many savers to one write. */
import { mkdirSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoCode, HeddleError } from './errors.ts';
import { replaceFile, replaceFileNow } from './files.ts';

export interface StateFile<T> {
  /** Undefined when there is none yet. @throws HeddleError `BadState` when it cannot be understood. */
  load(): Promise<T | undefined>;
  /** Resolves when a document taken from `current()` after this call is on disk. */
  save(current: () => T): Promise<void>;
  /** Resolves when no write is under way or waiting, however they ended. */
  idle(): Promise<void>;
}

export interface StateFileOptions {
  /**
   * Whether what is saved survives a power cut, or only the end of the process. Default true. What is about the kernel's
   * state, which a power cut ends too, need not.
   */
  readonly synced?: boolean;
}

export function createStateFile<T>(path: string, { synced = true }: StateFileOptions = {}): StateFile<T> {
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

  return {
    async load() {
      let text: string;
      try {
        text = await readFile(path, 'utf8');
      } catch (error) {
        if (errnoCode(error) === 'ENOENT') return undefined;
        throw error;
      }
      try {
        return JSON.parse(text) as T;
      } catch (error) {
        throw new HeddleError('BadState', `${path} is not the JSON that Heddle wrote there`, {
          hint: 'the disk may have been full or the file edited; move it away, it is rebuilt from live pods',
          cause: error,
        });
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
