/** What of a pod's containers outlives the agent: a file in the pod's own folder. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../lib/files.ts';
import type { SavedContainer } from './types.ts';

export type Saved = Record<string, SavedContainer>;

const fileOf = (folder: string): string => join(folder, 'containers.json');

export async function loadState(folder: string): Promise<Saved> {
  try {
    return JSON.parse(await readFile(fileOf(folder), 'utf8')) as Saved;
  } catch {
    // None yet.
    return {};
  }
}

export const forgetState = (folder: string): Promise<void> => rm(fileOf(folder), { force: true });

/** One write at a time, the last state always. */
export function createStateWriter(folder: string, current: () => Saved): () => Promise<void> {
  let writing: Promise<void> | undefined;
  let again: Promise<void> | undefined;
  const write = () => replaceFile(fileOf(folder), JSON.stringify(current()), { mode: 0o600, synced: false });
  return () => {
    if (!writing) return (writing = write().finally(() => (writing = undefined)));
    again ??= writing.then(() => {
      again = undefined;
      return (writing = write().finally(() => (writing = undefined)));
    });
    return again;
  };
}
