/**
 * The one place that calls C. A wrong pointer here ends the process whatever try/catch says, so every
 * function is typed narrowly and nothing outside of kernel/ imports this file.
 *
 * libuv starts its thread pool on first use, and the threads inherit the network namespace of that moment
 * for ever: the `stat` below starts them while this thread is still where it was born.
 */
import fs from 'node:fs';
import koffi from 'koffi';
import { HeddleError } from '../lib/errors.ts';

fs.stat('/', () => {});

export type Pointer = bigint | object;

const c = koffi.load('libc.so.6');

/** `long`-sized results are at most the size of a buffer here, so a number holds them. */
export const libc = {
  setns: c.func('int setns(int fd, int type)') as (fd: number, type: number) => number,
  unshare: c.func('int unshare(int flags)') as (flags: number) => number,
  mount: c.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ) as (
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ) => number,
  umount2: c.func('int umount2(const char *target, int flags)') as (target: string, flags: number) => number,
  socket: c.func('int socket(int domain, int type, int protocol)') as (
    domain: number,
    type: number,
    protocol: number,
  ) => number,
  bind: c.func('int bind(int fd, const void *address, uint32_t length)') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  connect: c.func('int connect(int fd, const void *address, uint32_t length)') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  listen: c.func('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number,
  send: c.func('long send(int fd, const void *data, size_t length, int flags)') as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  recv: c.func('long recv(int fd, void *data, size_t length, int flags)') as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ) => number,
  getsockopt: c.func('int getsockopt(int fd, int level, int name, void *value, void *length)') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint8Array,
  ) => number,
  ioctl: c.func('int ioctl(int fd, unsigned long request, void *argument)') as (
    fd: number,
    request: number,
    argument: Uint8Array,
  ) => number,
  flock: c.func('int flock(int fd, int operation)') as (fd: number, operation: number) => number,
  sysconf: c.func('long sysconf(int name)') as (name: number) => number,
};

/** `errno` of the last call on this thread; read it before anything else is called. */
export const lastErrno = (): number => koffi.errno();

/** Second names of numbers that have a better-known one. */
const aliases = new Set(['EWOULDBLOCK', 'ENOTSUP', 'EDEADLOCK']);
const names = new Map(
  Object.entries(koffi.os.errno).flatMap(([name, number]) => (aliases.has(name) ? [] : [[number, name]])),
);
export const errnoNumbers = koffi.os.errno;

/** `ENOENT` for 2; the number as text where this C library has no name for it. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`;

const hints: Readonly<Record<string, string>> = {
  EPERM: 'this needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EACCES: 'this needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN',
  EMFILE: 'this process is out of file descriptors: raise `ulimit -n`',
  ENFILE: 'the machine is out of file descriptors: raise fs.file-max',
  ENOSPC: 'a limit of the kernel was reached: see /proc/sys/user/max_net_namespaces and its neighbours',
};

/** What is most likely behind an errno, for the hints of errors. */
export const errnoHint = (name: string): string | undefined => hints[name];

/** The error of a system call that has just failed; `action` reads "enter the namespace /run/x". */
export function systemError(action: string, errno: number = lastErrno()): HeddleError {
  const name = errnoName(errno);
  return new HeddleError('Kernel', `cannot ${action}: ${name}`, { hint: errnoHint(name) });
}

export interface FdWatch {
  /** Stops watching; does not close the descriptor. */
  close(): void;
}

/**
 * Calls `onReady` on the event loop whenever `fd` is readable (or writable), as long as it stays so.
 * `keepAlive: false` lets the process end in spite of it.
 */
export function watchFd(
  fd: number,
  event: 'readable' | 'writable',
  onReady: () => void,
  options: { keepAlive?: boolean } = {},
): FdWatch {
  const events = event === 'readable' ? { readable: true } : { writable: true };
  let open = true;
  // koffi's callback does not run what promises wait for when it returns; an immediate, later in the same
  // turn of the loop, does. libuv stops watching a socket that has an error pending (status is not 0), which
  // is over once `onReady` has read it.
  const onEvent = (status: unknown) =>
    setImmediate(() => {
      if (open) onReady();
      if (open && status !== 0) handle.start(events, onEvent);
    });
  const handle = koffi.node.poll(fd, events, onEvent);
  if (options.keepAlive === false) handle.unref();
  return {
    close() {
      if (!open) return;
      open = false;
      handle.stop();
      handle.close();
    },
  };
}

export interface LibNftables {
  contextNew(flags: number): Pointer | null;
  contextFree(context: Pointer): void;
  bufferOutput(context: Pointer): number;
  bufferError(context: Pointer): number;
  output(context: Pointer): string | null;
  error(context: Pointer): string | null;
  setOutputFlags(context: Pointer, flags: number): void;
  run(context: Pointer, commands: string): number;
}

let nftables: LibNftables | undefined;

/** Loaded on first use: most processes never need it. @throws HeddleError `LibraryMissing` */
export function libnftables(): LibNftables {
  nftables ??= bindNftables();
  return nftables;
}

function bindNftables(): LibNftables {
  const library = load('libnftables.so.1', 'libnftables1');
  return {
    contextNew: library.func('void *nft_ctx_new(uint32_t flags)') as LibNftables['contextNew'],
    contextFree: library.func('void nft_ctx_free(void *ctx)') as LibNftables['contextFree'],
    bufferOutput: library.func('int nft_ctx_buffer_output(void *ctx)') as LibNftables['bufferOutput'],
    bufferError: library.func('int nft_ctx_buffer_error(void *ctx)') as LibNftables['bufferError'],
    output: library.func('const char *nft_ctx_get_output_buffer(void *ctx)') as LibNftables['output'],
    error: library.func('const char *nft_ctx_get_error_buffer(void *ctx)') as LibNftables['error'],
    setOutputFlags: library.func(
      'void nft_ctx_output_set_flags(void *ctx, unsigned int flags)',
    ) as LibNftables['setOutputFlags'],
    run: library.func('int nft_run_cmd_from_buffer(void *ctx, const char *commands)') as LibNftables['run'],
  };
}

function load(file: string, debianPackage: string) {
  try {
    return koffi.load(file);
  } catch (cause) {
    throw new HeddleError('LibraryMissing', `cannot load ${file}`, {
      hint: `install it: apt-get install ${debianPackage}`,
      cause,
    });
  }
}
