/** cgroup2: a cluster is one subtree, so that whatever it started can be found and ended. Paths are absolute. */
import fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { mounts } from './mount.ts';

/** Where cgroup2 is mounted (`/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a hybrid layout). */
export function findCgroup2Mount(): string | undefined {
  return mounts().find((mount) => mount.type === 'cgroup2')?.path;
}

function cgroupError(action: string, cause: unknown): HeddleError {
  return new HeddleError('Cgroup', `cannot ${action}: ${errnoCode(cause) ?? String(cause)}`, {
    hint: errnoCode(cause) === 'EACCES' || errnoCode(cause) === 'EPERM' ? 'this needs root' : undefined,
    cause,
  });
}

/** With the parents that are missing; one that exists is no error. */
export function createCgroup(path: string): void {
  try {
    fs.mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw cgroupError(`make the cgroup ${path}`, cause);
  }
}

export function moveToCgroup(path: string, pid: number): void {
  try {
    fs.writeFileSync(join(path, 'cgroup.procs'), String(pid));
  } catch (cause) {
    throw cgroupError(`move process ${pid} to the cgroup ${path}`, cause);
  }
}

/** Processes of this cgroup alone, not of those below; empty where it is gone. */
export function cgroupPids(path: string): number[] {
  const text = readIfThere(join(path, 'cgroup.procs'));
  return text.split('\n').filter(Boolean).map(Number);
}

/** Of this cgroup and all below. */
export function cgroupTreePids(path: string): number[] {
  return [...cgroupPids(path), ...children(path).flatMap((child) => cgroupTreePids(child))];
}

/** Kills every process of the tree at once, those being forked included; nothing there is no error. */
export function killCgroup(path: string): void {
  try {
    fs.writeFileSync(join(path, 'cgroup.kill'), '1');
  } catch (cause) {
    if (!fs.existsSync(path)) return;
    // Kernels before 5.14 have no cgroup.kill.
    if (errnoCode(cause) !== 'ENOENT' && errnoCode(cause) !== 'EACCES')
      throw cgroupError(`kill the cgroup ${path}`, cause);
    for (const pid of cgroupTreePids(path)) killIfThere(pid);
  }
}

/**
 * Removes the tree once its processes have ended, for which it waits up to `timeoutMs` (default 5,000).
 * What is gone already is no error.
 */
export async function removeCgroup(path: string, options: { timeoutMs?: number } = {}): Promise<void> {
  const end = performance.now() + (options.timeoutMs ?? 5000);
  for (;;) {
    const busy = tryRemove(path);
    if (busy === undefined) return;
    if (performance.now() > end) throw stillBusy(path, busy);
    await sleep(5);
  }
}

/**
 * The same path in the hierarchies of cgroup v1, where container runtimes make one of each controller: the empty groups
 * of it. `path` is below a hierarchy's root. Nothing there is no error; what is not empty stays.
 */
export function removeFromHierarchies(path: string): void {
  for (const mount of mounts()) if (mount.type === 'cgroup') tryRemove(join(mount.path, path));
}

function stillBusy(path: string, cause: unknown): HeddleError {
  const pids = cgroupTreePids(path);
  return new HeddleError('Cgroup', `cannot remove the cgroup ${path}: ${errnoCode(cause) ?? 'busy'}`, {
    hint: pids.length > 0 ? `processes still in it: ${pids.join(', ')}` : undefined,
    cause,
  });
}

/** The error that stands in the way, if any. */
function tryRemove(path: string): unknown {
  for (const child of children(path)) {
    const busy = tryRemove(child);
    if (busy !== undefined) return busy;
  }
  try {
    fs.rmdirSync(path);
  } catch (error) {
    return errnoCode(error) === 'ENOENT' ? undefined : error;
  }
  return undefined;
}

function children(path: string): string[] {
  try {
    const entries = fs.readdirSync(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(path, entry.name));
  } catch (error) {
    if (isGone(error)) return [];
    throw cgroupError(`read the cgroup ${path}`, error);
  }
}

/** ENODEV is what reading the files of a cgroup gives that was removed meanwhile. */
const isGone = (error: unknown): boolean => ['ENOENT', 'ENODEV'].includes(errnoCode(error) ?? '');

function readIfThere(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (isGone(error)) return '';
    throw cgroupError(`read ${file}`, error);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoCode(error) !== 'ESRCH') throw error;
  }
}
