/** Mounts of a cluster's run directory. Unmounting what is not mounted is no error. */
import fs from 'node:fs';
import { errnoNumbers, lastErrno, libc, systemError } from './ffi.ts';

const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MS_BIND = 4096;
const MS_PRIVATE = 1 << 18;
const MNT_DETACH = 2;

function mount(source: string | null, target: string, type: string | null, flags: number, data?: string) {
  if (libc.mount(source, target, type, flags, data ?? null) === 0) return;
  throw systemError(`mount ${type ?? source ?? 'a change'} on ${target}`);
}

/** Mounts inside of `path` are then seen by no other mount namespace, and pin nothing there. */
const makePrivate = (path: string): void => mount(null, path, null, MS_PRIVATE);

export interface TmpfsOptions {
  /** Mounts made below are not passed on to other mount namespaces. */
  private?: boolean;
  /** As tmpfs reads it: `16m`. Default half of the memory. */
  size?: string;
  /** Octal digits. Default `0700`. */
  mode?: string;
}

export function mountTmpfs(path: string, options: TmpfsOptions = {}): void {
  const { mode = '0700', size } = options;
  const data = size === undefined ? `mode=${mode}` : `mode=${mode},size=${size}`;
  mount('heddle', path, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, data);
  if (options.private) makePrivate(path);
}

/** Memory for programs of others: `options` as tmpfs reads them. What is in it may be run. */
export const mountMemory = (path: string, options: string): void =>
  mount('heddle', path, 'tmpfs', MS_NOSUID | MS_NODEV, options);

/** Shows the file or folder `source` at `target` too; `target` must exist. */
export const bind = (source: string, target: string): void => mount(source, target, null, MS_BIND);

export const mountCgroup2 = (path: string): void =>
  mount('heddle', path, 'cgroup2', MS_NOSUID | MS_NODEV | MS_NOEXEC);

/** Where pinned eBPF objects live: they stay until their name is removed or the mount goes. */
export function mountBpffs(path: string): void {
  mount('heddle', path, 'bpf', MS_NOSUID | MS_NODEV | MS_NOEXEC, 'mode=0700');
  makePrivate(path);
}

/** Takes away every mount stacked on `path`, at once, though files below are still open; false where there was none. */
export function unmountLazy(path: string): boolean {
  let any = false;
  while (libc.umount2(path, MNT_DETACH) === 0) any = true;
  const errno = lastErrno();
  if (errno !== errnoNumbers['EINVAL'] && errno !== errnoNumbers['ENOENT'])
    throw systemError(`unmount ${path}`, errno);
  return any;
}

export interface Mount {
  readonly path: string;
  readonly type: string;
  readonly source: string;
}

/** What is mounted in this process's mount namespace, oldest first. */
export function mounts(): Mount[] {
  const lines = fs.readFileSync('/proc/self/mounts', 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => {
    const [source = '', path = '', type = ''] = line.split(' ').map(unescape);
    return { path, type, source };
  });
}

export const isMountPoint = (path: string): boolean => mounts().some((mount) => mount.path === path);

/** The kernel writes blanks and backslashes of paths as `\040`. */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
