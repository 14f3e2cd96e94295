/**
 * Network namespaces. The main thread visits another namespace for microseconds and comes back before
 * anything else can run: what is made inside (sockets, children) stays there, this thread does not.
 */
import fs from 'node:fs';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { errnoNumbers, lastErrno, libc, systemError } from './ffi.ts';

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MNT_DETACH = 2;
const SELF = '/proc/thread-self/ns/net';

export interface Netns {
  readonly fd: number;
  readonly path: string;
}

/** The namespace this thread was in when the module was loaded: where `inNetns` starts from. */
const home: Netns = { fd: fs.openSync(SELF, 'r'), path: SELF };
let current: Netns = home;

export const currentNetns = (): Netns => current;

/** @throws HeddleError `NetnsMissing` */
export function openNetns(path: string): Netns {
  try {
    return { fd: fs.openSync(path, 'r'), path };
  } catch (cause) {
    throw new HeddleError('NetnsMissing', `cannot open the network namespace ${path}`, {
      hint: 'it was removed, or the cluster that made it is down',
      cause,
    });
  }
}

export function closeNetns(ns: Netns): void {
  if (ns !== home) fs.closeSync(ns.fd);
}

/**
 * Runs `fn` in `ns`. Only what `fn` does before it returns happens there: no await, and none of Node's calls
 * that open their socket in the next tick. If the way back fails the process ends, for it would go on
 * in somebody else's network.
 */
export function inNetns<T>(ns: Netns, fn: () => T): T {
  const before = current;
  if (libc.setns(ns.fd, CLONE_NEWNET) !== 0) throw systemError(`enter the network namespace ${ns.path}`);
  current = ns;
  try {
    return refusePromise(fn());
  } finally {
    goBack(before);
  }
}

function refusePromise<T>(value: T): T {
  if (value instanceof Promise) throw new TypeError('what runs in another namespace must be synchronous');
  return value;
}

function goBack(before: Netns): void {
  if (libc.setns(before.fd, CLONE_NEWNET) !== 0) {
    process.stderr.write(`cannot return to the network namespace ${before.path}: ${lastErrno()}\n`);
    process.abort();
  }
  current = before;
}

/** Runs `fn` in a namespace made for it, that is gone when the last descriptor made inside is closed. */
export function inScratchNetns<T>(fn: (ns: Netns) => T): T {
  return inNewNetns(() => {
    const ns: Netns = { fd: fs.openSync(SELF, 'r'), path: 'a scratch network namespace' };
    const outer = current;
    current = ns;
    try {
      return refusePromise(fn(ns));
    } finally {
      current = outer;
      fs.closeSync(ns.fd);
    }
  });
}

function inNewNetns<T>(fn: () => T): T {
  const before = current;
  if (libc.unshare(CLONE_NEWNET) !== 0) throw systemError('make a network namespace');
  try {
    return fn();
  } finally {
    goBack(before);
  }
}

/**
 * A new, empty namespace bound at `path` (its folder must exist, `path` must not), with `lo` up.
 * @throws HeddleError `NetnsExists`, `Kernel`
 */
export function createNetns(path: string): Netns {
  createMountPoint(path);
  try {
    inNewNetns(() => {
      if (libc.mount(SELF, path, null, MS_BIND, null) !== 0)
        throw systemError(`bind a network namespace to ${path}`);
      setLoopbackUp();
    });
    return openNetns(path);
  } catch (error) {
    deleteNetns(path);
    throw error;
  }
}

function createMountPoint(path: string): void {
  try {
    fs.closeSync(fs.openSync(path, 'wx', 0o600));
  } catch (cause) {
    if (errnoCode(cause) !== 'EEXIST')
      throw new HeddleError('Kernel', `cannot create the file ${path}: ${errnoCode(cause)}`, {
        hint: 'the folder must exist and be writable',
        cause,
      });
    throw new HeddleError('NetnsExists', `the network namespace ${path} exists already`, {
      hint: 'delete it first',
      cause,
    });
  }
}

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;

function setLoopbackUp(): void {
  const fd = libc.socket(2 /* AF_INET */, 2 /* SOCK_DGRAM */, 0);
  if (fd < 0) throw systemError('open a socket in the new network namespace');
  try {
    // struct ifreq: 16 bytes of name, then the union (here a short of flags), 40 bytes in all.
    const request = Buffer.alloc(40);
    request.write('lo', 0, 'latin1');
    if (libc.ioctl(fd, SIOCGIFFLAGS, request) !== 0) throw systemError('read the flags of lo');
    request.writeInt16LE(request.readInt16LE(16) | IFF_UP, 16);
    if (libc.ioctl(fd, SIOCSIFFLAGS, request) !== 0) throw systemError('set lo up');
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Unbinds and removes `path`; the namespace itself lives on while a process or socket is in it. What is
 * already gone is no error.
 */
export function deleteNetns(path: string): void {
  while (libc.umount2(path, MNT_DETACH) === 0);
  const errno = lastErrno();
  if (errno !== errnoNumbers['EINVAL'] && errno !== errnoNumbers['ENOENT'])
    throw systemError(`unmount the network namespace ${path}`, errno);
  fs.rmSync(path, { force: true });
}
