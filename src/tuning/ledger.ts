/**
 * The write-ahead record of leases: what a setting was is on disk before the setting changes, so that whoever
 * comes after a crash can put it back. Settings die with the machine's boot, and so does a ledger.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tryLock } from '../kernel/flock.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import { isObject } from '../lib/json.ts';

/** Who asked. Without `pid` it lives as long as its namespace does, and the ledger with it. */
export interface Holder {
  /** `cluster 1a2b3c4d` */
  readonly name: string;
  readonly pid?: number;
  /** Clock ticks after boot: with `pid` it names one process for ever. */
  readonly startTime?: number;
}

export interface Lease {
  readonly holder: Holder;
  readonly profile: string;
  readonly value: string;
  readonly reason: string;
  /** ISO 8601. */
  readonly since: string;
}

export interface LeasedKey {
  /** What it was before the first lease, and will be after the last. */
  readonly original: string;
  /** Values that may be in force because of us: more than one while a change is on its way. */
  readonly ours: readonly string[];
  /** Oldest first. The newest one's value is in force. */
  readonly leases: readonly Lease[];
}

export type Leases = Readonly<Record<string, LeasedKey>>;

export interface Ledger {
  read(): Leases;
  /** On disk when it resolves. Without any key the file goes. */
  write(leases: Leases): Promise<void>;
}

interface LedgerFile {
  readonly version: 1;
  readonly boot: string;
  readonly keys: Leases;
}

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
const bootId = (): string => readFileSync(BOOT_ID, 'utf8').trim();

/** The folder is made and, once empty, removed. @throws HeddleError `BadLedger` where the file cannot be read as one */
export function fileLedger(path: string, boot: string = bootId()): Ledger {
  return {
    read: () => readLedger(path, boot),
    async write(keys) {
      if (Object.keys(keys).length === 0) rmSync(path, { force: true });
      else {
        const file: LedgerFile = { version: 1, boot, keys };
        await replaceFile(path, `${JSON.stringify(file, undefined, 2)}\n`, { mode: 0o600, synced: true });
      }
    },
  };
}

function readLedger(path: string, boot: string): Leases {
  let file: unknown;
  try {
    file = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    if (errnoCode(cause) === 'ENOENT' || errnoCode(cause) === 'ENOTDIR') return {};
    throw badLedger(path, cause);
  }
  if (!isObject(file) || file['version'] !== 1 || !isObject(file['keys'])) throw badLedger(path);
  // Of an earlier boot: the kernel has begun anew, nothing of it is in force.
  if (file['boot'] !== boot) return {};
  const keys = file['keys'];
  if (!Object.values(keys).every(isLeasedKey)) throw badLedger(path);
  return keys as unknown as Leases;
}

const isLeasedKey = (value: unknown): boolean =>
  isObject(value) &&
  typeof value['original'] === 'string' &&
  Array.isArray(value['ours']) &&
  Array.isArray(value['leases']) &&
  value['leases'].every((lease: unknown) => isObject(lease) && isObject(lease['holder']));

const badLedger = (path: string, cause?: unknown): HeddleError =>
  new HeddleError('BadLedger', `${path} does not say what settings were before they were leased`, {
    hint: 'it was edited or damaged; compare the settings it names with what they should be, then remove it',
    cause,
  });

const PATIENCE = 10_000;

/** Runs `fn` while nobody else changes ledgers of this folder. @throws HeddleError `LedgerBusy` after 10 s */
export async function withLedgerLock<T>(path: string, fn: () => Promise<T>): Promise<T> {
  const folder = dirname(path);
  const fd = await lockFolder(folder);
  try {
    return await fn();
  } finally {
    removeIfEmpty(folder);
    closeSync(fd);
  }
}

async function lockFolder(folder: string): Promise<number> {
  for (const end = performance.now() + PATIENCE; ; ) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const fd = openFolder(folder);
    if (fd !== undefined) {
      if (tryLock(fd) && isSameFolder(fd, folder)) return fd;
      closeSync(fd);
    }
    if (performance.now() > end)
      throw new HeddleError(
        'LedgerBusy',
        `another process has been changing the leases in ${folder} for 10 s`,
      );
    await sleep(10);
  }
}

/** Its last user may remove it at any moment. */
function openFolder(folder: string): number | undefined {
  try {
    return openSync(folder, 'r');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function isSameFolder(fd: number, folder: string): boolean {
  const [held, there] = [fstatSync(fd), statSync(folder, { throwIfNoEntry: false })];
  return held.ino === there?.ino && held.dev === there.dev;
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(errnoCode(error) ?? '')) throw error;
  }
}
