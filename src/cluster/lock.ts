/** One process at a time makes, runs or removes a cluster. The kernel frees the lock when its holder dies. */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../kernel/flock.ts';
import { isAlive, startTime } from '../kernel/process.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';

export interface Holder {
  readonly pid: number;
  /** Clock ticks after boot: with `pid` it names one process for ever. */
  readonly startTime: number | undefined;
  /** What it does, for people: `heddle up`. */
  readonly what: string;
  /** ISO 8601. */
  readonly since: string;
}

export interface Lock {
  /** Lets go and removes the file. */
  release(): void;
}

/** The lock, or undefined where somebody has it. The folder of `path` must exist. */
export function acquireLock(path: string, what: string): Lock | undefined {
  for (;;) {
    const fd = openSync(path, 'a+', 0o600);
    if (!tryLock(fd)) {
      closeSync(fd);
      return undefined;
    }
    // The last holder may have removed the file between our open and our lock.
    if (isSameFile(fd, path)) return hold(fd, path, what);
    closeSync(fd);
  }
}

function hold(fd: number, path: string, what: string): Lock {
  const holder: Holder = {
    pid: process.pid,
    startTime: startTime(process.pid),
    what,
    since: new Date().toISOString(),
  };
  ftruncateSync(fd);
  writeSync(fd, JSON.stringify(holder));
  return {
    release() {
      if (isSameFile(fd, path)) rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}

function isSameFile(fd: number, path: string): boolean {
  try {
    const [held, there] = [fstatSync(fd), statSync(path)];
    return held.ino === there.ino && held.dev === there.dev;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Who holds the lock now, as far as the file tells; undefined where nobody does. */
export function lockHolder(path: string): Holder | undefined {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return tryLock(fd) ? undefined : parseHolder(readFileSync(path, 'utf8'));
  } finally {
    closeSync(fd);
  }
}

function parseHolder(text: string): Holder {
  try {
    return JSON.parse(text) as Holder;
  } catch {
    // Between taking the lock and writing its name.
    return { pid: 0, startTime: undefined, what: 'another process', since: '' };
  }
}

export const isHolderAlive = (holder: Holder): boolean =>
  holder.pid > 0 && isAlive(holder.pid) && startTime(holder.pid) === holder.startTime;

const holderText = (holder: Holder): string =>
  `${holder.what} (pid ${holder.pid}${holder.since ? `, since ${holder.since}` : ''})`;

/** Waits for the lock. @throws HeddleError `ClusterBusy` after `timeoutMs` */
export async function waitForLock(path: string, what: string, timeoutMs: number): Promise<Lock> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const lock = acquireLock(path, what);
    if (lock) return lock;
    if (performance.now() > end) throw busy(path);
    await sleep(20);
  }
}

export function busy(path: string): HeddleError {
  const holder = lockHolder(path);
  return new HeddleError(
    'ClusterBusy',
    `this cluster is in use by ${holder ? holderText(holder) : 'another process'}`,
    {
      hint: '"heddle status" shows it, "heddle down" ends it; --data-dir D makes another cluster beside it',
    },
  );
}
