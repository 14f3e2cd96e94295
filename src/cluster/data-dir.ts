/** The folder that holds all that a cluster keeps: made with care, and removed entry by known entry. */
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { type ClusterPaths, DEFAULT_DATA_DIR } from './paths.ts';

/**
 * Refuses a folder that another user could change under us (it will hold keys, and code: the compile cache), or
 * that holds something else (for `down` removes it). Changes nothing.
 * @throws HeddleError `DataDirUnsafe`, `DataDirForeign`, `DataDirFailed`
 */
export function checkDataDir(paths: ClusterPaths): void {
  const { dataDir } = paths;
  const stat = statOf(dataDir);
  if (!stat) return;
  const unsafe = (why: string, hint: string) =>
    new HeddleError('DataDirUnsafe', `the data directory ${dataDir} ${why}`, { hint });
  if (!stat.isDirectory()) throw unsafe('is not a folder', 'choose another one with --data-dir');
  if (stat.uid !== process.geteuid?.())
    throw unsafe(`belongs to user ${stat.uid}`, 'it must belong to whoever runs the cluster, that is root');
  if ((stat.mode & 0o022) !== 0) throw unsafe('may be written by others', `chmod go-w ${dataDir}`);
  const entries = readdirSync(dataDir);
  if (
    entries.length > 0 &&
    !entries.includes(basename(paths.config)) &&
    !entries.includes(basename(paths.lock))
  )
    throw new HeddleError(
      'DataDirForeign',
      `${dataDir} holds something, but not a cluster: ${list(entries)}`,
      {
        hint: 'choose an empty or new folder: "heddle down" removes what is in it',
      },
    );
}

const list = (names: readonly string[]): string =>
  names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;

function statOf(path: string) {
  try {
    return lstatSync(path);
  } catch (error) {
    // A file on the way to it is found when the folder is made.
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return undefined;
    throw unusable('cannot look at', path, error);
  }
}

/**
 * Makes the folder where it is missing. 0700; with a user behind sudo 0711, so that they can reach the kubeconfig,
 * the one file in it that is theirs (everything else is 0600 or 0700).
 */
export function makeDataDir(paths: ClusterPaths, forOtherUser: boolean): void {
  try {
    makeFolder(dirname(paths.dataDir), 0o755);
    makeFolder(paths.dataDir, 0o700);
  } catch (cause) {
    throw unusable('cannot make', paths.dataDir, cause);
  }
  chmodSync(paths.dataDir, forOtherUser ? 0o711 : 0o700);
  // The mark that this folder is a cluster's, before anything else is in it.
  closeSync(openSync(paths.lock, 'a', 0o600));
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 });
}

/** `what`: what cannot be done with it, like `cannot make`. */
export const unusable = (what: string, path: string, cause: unknown): HeddleError =>
  new HeddleError('DataDirFailed', `${what} the data directory ${path}`, {
    hint: errnoCode(cause) === 'ENOSPC' ? 'the disk is full' : 'choose another one with --data-dir',
    cause,
  });

/** With the folders above it. Not `recursive`: that never ends in file systems that refuse new folders. */
function makeFolder(path: string, mode: number): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path), 0o755);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') throw error;
  }
}

/** State of pods and addresses that means nothing once the namespaces are gone. Pod logs stay. */
export function forgetNodeState(paths: ClusterPaths): void {
  const nodes = dirname(paths.node('x').state);
  for (const node of entriesOf(nodes))
    for (const entry of entriesOf(`${nodes}/${node}`))
      if (entry !== basename(paths.node(node).podLogs))
        rmSync(`${nodes}/${node}/${entry}`, { recursive: true, force: true });
}

function entriesOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}

/** Removes what a cluster puts there, then the folder. Returns what was not ours and stays. */
export function removeDataDir(paths: ClusterPaths): string[] {
  const { store } = paths;
  const folders = [paths.pki, paths.logs, dirname(paths.node('x').state), paths.compileCache];
  const files = [paths.kubeconfig, store, `${store}-wal`, `${store}-shm`, `${store}-journal`];
  for (const path of [...folders, ...files, paths.config]) rmSync(path, { recursive: true, force: true });
  const rest = entriesOf(paths.dataDir).filter((name) => name !== basename(paths.lock));
  if (rest.length > 0) return rest;
  rmSync(paths.lock, { force: true });
  removeEmpty(paths.dataDir);
  // The parent of the default folder is ours by name.
  if (dirname(paths.dataDir) === dirname(DEFAULT_DATA_DIR)) removeEmpty(dirname(DEFAULT_DATA_DIR));
  return [];
}

/** Somebody else's file in it, or somebody who removed it first, is no error. */
export function removeEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(errnoCode(error) ?? '')) throw error;
  }
}
