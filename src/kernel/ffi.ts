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
import { type SystemCall, systemCallsOf } from './system-calls.ts';

fs.stat('/', () => {});

export type Pointer = bigint | object;

const c = koffi.load('libc.so.6');

const { code, numbers } = systemCallsOf(process.arch);

const map = c.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset)') as (
  at: null,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => bigint;
const protect = c.func('int mprotect(void *at, size_t length, int protection)') as (
  at: bigint,
  length: number,
  protection: number,
) => number;

/** Executable memory that holds `bytes`, for as long as the process lives; never writable and executable at once. */
function place(bytes: Uint8Array): bigint {
  const [READ, WRITE, EXECUTE, PRIVATE, ANONYMOUS] = [1, 2, 4, 2, 32];
  const at = map(null, bytes.length, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0);
  if (BigInt.asIntN(64, at) !== -1n) {
    new Uint8Array(koffi.view(at, bytes.length)).set(bytes);
    if (protect(at, bytes.length, READ | EXECUTE) === 0) return at;
  }
  throw new HeddleError('Kernel', 'cannot get memory for code', {
    hint: 'a security policy may forbid it (SELinux: execmem); Node needs it too',
  });
}

const entry = place(code);
let errno = 0;

/** The kernel's own answer: -errno where it failed. `parameters` as C has them. */
function direct(name: SystemCall, parameters: string, result = 'long'): unknown {
  const type = koffi.proto(`${result} heddle_${name}(long number, ${parameters})`);
  return koffi.decode(entry, type).bind(undefined, numbers[name]);
}

/** As the C library has it: -1 where it failed, and then `lastErrno` says why. */
function call(name: SystemCall, parameters: string): unknown {
  const made = direct(name, parameters) as (...given: unknown[]) => number;
  return (...given: unknown[]): number => {
    const result = made(...given);
    if (result >= 0) return result;
    errno = -result;
    return -1;
  };
}

const sendto = call(
  'sendto',
  'int fd, const void *data, size_t length, int flags, const void *to, uint32_t size',
) as (fd: number, data: Uint8Array, length: number, flags: number, to: null, size: number) => number;
const recvfrom = call('recvfrom', 'int fd, void *data, size_t length, int flags, void *from, void *size') as (
  fd: number,
  data: Uint8Array,
  length: number,
  flags: number,
  from: null,
  size: null,
) => number;

const laterType = koffi.proto(
  'long sendtoLater(long number, int fd, const void *data, size_t length, int flags, const void *to, uint32_t size)',
);
const laterSend = koffi.decode(entry, laterType) as {
  async(
    number: number,
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
    to: null,
    size: number,
    done: (error: unknown, result: number) => void,
  ): void;
};

/** send(2) in a thread of Node's pool, for messages that the kernel takes its time over. The kernel's own answer. */
export const sendLater = (fd: number, data: Uint8Array): Promise<number> =>
  new Promise((resolve, reject) => {
    laterSend.async(numbers.sendto, fd, data, data.length, 0, null, 0, (error, result) =>
      error === null || error === undefined ? resolve(result) : reject(error),
    );
  });

/** `long`-sized results are at most the size of a buffer here, so a number holds them. */
export const libc = {
  setns: call('setns', 'int fd, int type') as (fd: number, type: number) => number,
  unshare: call('unshare', 'int flags') as (flags: number) => number,
  mount: call(
    'mount',
    'const char *source, const char *target, const char *type, unsigned long flags, const char *data',
  ) as (
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ) => number,
  umount2: call('umount2', 'const char *target, int flags') as (target: string, flags: number) => number,
  socket: call('socket', 'int domain, int type, int protocol') as (
    domain: number,
    type: number,
    protocol: number,
  ) => number,
  bind: call('bind', 'int fd, const void *address, uint32_t length') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  connect: call('connect', 'int fd, const void *address, uint32_t length') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  listen: call('listen', 'int fd, int backlog') as (fd: number, backlog: number) => number,
  accept4: call('accept4', 'int fd, void *address, void *length, int flags') as (
    fd: number,
    address: null,
    length: null,
    flags: number,
  ) => number,
  send: (fd: number, data: Uint8Array, length: number, flags: number): number =>
    sendto(fd, data, length, flags, null, 0),
  recv: (fd: number, data: Uint8Array, length: number, flags: number): number =>
    recvfrom(fd, data, length, flags, null, null),
  setsockopt: call('setsockopt', 'int fd, int level, int name, const void *value, uint32_t length') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ) => number,
  getsockopt: call('getsockopt', 'int fd, int level, int name, void *value, void *length') as (
    fd: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint8Array,
  ) => number,
  ioctl: call('ioctl', 'int fd, unsigned long request, void *argument') as (
    fd: number,
    request: number,
    argument: Uint8Array,
  ) => number,
  read: call('read', 'int fd, void *data, size_t length') as (
    fd: number,
    data: Uint8Array,
    length: number,
  ) => number,
  write: call('write', 'int fd, const void *data, size_t length') as (
    fd: number,
    data: Uint8Array,
    length: number,
  ) => number,
  timerfd_create: call('timerfd_create', 'int clock, int flags') as (clock: number, flags: number) => number,
  timerfd_settime: call('timerfd_settime', 'int fd, int flags, const void *value, void *before') as (
    fd: number,
    flags: number,
    value: Uint8Array,
    before: null,
  ) => number,
  sched_setscheduler: call('sched_setscheduler', 'int thread, int policy, const void *parameters') as (
    thread: number,
    policy: number,
    parameters: Uint8Array,
  ) => number,
  flock: call('flock', 'int fd, int operation') as (fd: number, operation: number) => number,
  sysconf: c.func('long sysconf(int name)') as (name: number) => number,
  /** bpf(2). The kernel's own answer: -errno where it failed. */
  bpf: direct('bpf', 'int command, void *attributes, uint32_t size') as (
    command: number,
    attributes: Uint8Array,
    size: number,
  ) => number,
  /** The kernel's own answer: the address, or -errno as a number of 64 bits. */
  mmap: direct(
    'mmap',
    'void *at, size_t length, int protection, int flags, int fd, long offset',
    'void *',
  ) as (at: null, length: number, protection: number, flags: number, fd: number, offset: number) => bigint,
  /** Returns the error's number itself. */
  pthread_sigmask: c.func('int pthread_sigmask(int how, const void *set, void *old)') as (
    how: number,
    set: Uint8Array,
    old: Uint8Array | null,
  ) => number,
  munmap: call('munmap', 'void *at, size_t length') as (at: bigint, length: number) => number,
};

const SIG_BLOCK = 0;
const SIG_SETMASK = 2;
/** glibc's sigset_t: all but the signals of a fault of one's own (ILL, TRAP, BUS, FPE, SEGV). */
const asynchronous = Buffer.alloc(128, 0xff);
for (const signal of [4, 5, 7, 8, 11]) {
  const byte = (signal - 1) >> 3;
  asynchronous[byte] = (asynchronous[byte] ?? 0) & ~(1 << ((signal - 1) & 7));
}

/** Signals wait, or go to other threads, while `call` is in the kernel: some long calls give up when one comes. */
export function withoutSignals<T>(call: () => T): T {
  const before = Buffer.alloc(128);
  libc.pthread_sigmask(SIG_BLOCK, asynchronous, before);
  try {
    return call();
  } finally {
    libc.pthread_sigmask(SIG_SETMASK, before, null);
  }
}

/**
 * Where the bytes are, for structures that the kernel reads pointers from. Node keeps the memory of arrays where
 * it is; the caller keeps the array itself reachable for as long as the kernel may use the address.
 */
export const addressOf = (bytes: Uint8Array): bigint => koffi.address(bytes);

/** Memory that somebody else owns; touching it after it was unmapped ends the process. */
export const memoryAt = (address: bigint, length: number): ArrayBuffer => koffi.view(address, length);

/** Why the last of the calls above that failed did. */
export const lastErrno = (): number => errno;

/** What a library's function left in `errno`, or the engine since: good for an error's words, not for decisions. */
export const libraryErrno = (): number => koffi.errno();

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

const bindNftables = (): LibNftables =>
  bindAll<LibNftables>(load('libnftables.so.1', 'libnftables1'), {
    contextNew: 'void *nft_ctx_new(uint32_t flags)',
    contextFree: 'void nft_ctx_free(void *ctx)',
    bufferOutput: 'int nft_ctx_buffer_output(void *ctx)',
    bufferError: 'int nft_ctx_buffer_error(void *ctx)',
    output: 'const char *nft_ctx_get_output_buffer(void *ctx)',
    error: 'const char *nft_ctx_get_error_buffer(void *ctx)',
    setOutputFlags: 'void nft_ctx_output_set_flags(void *ctx, unsigned int flags)',
    run: 'int nft_run_cmd_from_buffer(void *ctx, const char *commands)',
  });

export interface LibBpf {
  setPrint(callback: null): unknown;
  openFile(path: string, options: Uint8Array): Pointer | null;
  load(object: Pointer): number;
  close(object: Pointer): void;
  btf(object: Pointer): Pointer | null;
  btfData(btf: Pointer, size: Uint8Array): bigint | null;
  nextProgram(object: Pointer, after: Pointer | null): Pointer | null;
  programName(program: Pointer): string;
  programSection(program: Pointer): string;
  programFd(program: Pointer): number;
  programSetAutoload(program: Pointer, autoload: boolean): number;
  nextMap(object: Pointer, after: Pointer | null): Pointer | null;
  mapName(map: Pointer): string;
  mapFd(map: Pointer): number;
  mapReuseFd(map: Pointer, fd: number): number;
  mapType(map: Pointer): number;
  mapKeySize(map: Pointer): number;
  mapValueSize(map: Pointer): number;
  mapMaxEntries(map: Pointer): number;
  mapSetMaxEntries(map: Pointer, entries: number): number;
  mapFlags(map: Pointer): number;
  mapKeyType(map: Pointer): number;
  mapValueType(map: Pointer): number;
  mapIsInternal(map: Pointer): boolean;
  mapSetPinPath(map: Pointer, path: null): number;
  mapInitialValue(map: Pointer, size: Uint8Array): bigint | null;
}

let bpf: LibBpf | undefined;

/** Loaded on first use. @throws HeddleError `LibraryMissing` */
export function libbpf(): LibBpf {
  bpf ??= bindLibBpf();
  return bpf;
}

function bindLibBpf(): LibBpf {
  const bound = bindAll<LibBpf>(load('libbpf.so.1', 'libbpf1'), {
    setPrint: 'void *libbpf_set_print(void *callback)',
    openFile: 'void *bpf_object__open_file(const char *path, const void *options)',
    load: 'int bpf_object__load(void *object)',
    close: 'void bpf_object__close(void *object)',
    btf: 'void *bpf_object__btf(const void *object)',
    btfData: 'void *btf__raw_data(const void *btf, void *size)',
    nextProgram: 'void *bpf_object__next_program(const void *object, void *after)',
    programName: 'const char *bpf_program__name(const void *program)',
    programSection: 'const char *bpf_program__section_name(const void *program)',
    programFd: 'int bpf_program__fd(const void *program)',
    programSetAutoload: 'int bpf_program__set_autoload(void *program, bool autoload)',
    nextMap: 'void *bpf_object__next_map(const void *object, const void *after)',
    mapName: 'const char *bpf_map__name(const void *map)',
    mapFd: 'int bpf_map__fd(const void *map)',
    mapReuseFd: 'int bpf_map__reuse_fd(void *map, int fd)',
    mapType: 'int bpf_map__type(const void *map)',
    mapKeySize: 'uint32_t bpf_map__key_size(const void *map)',
    mapValueSize: 'uint32_t bpf_map__value_size(const void *map)',
    mapMaxEntries: 'uint32_t bpf_map__max_entries(const void *map)',
    mapSetMaxEntries: 'int bpf_map__set_max_entries(void *map, uint32_t entries)',
    mapFlags: 'uint32_t bpf_map__map_flags(const void *map)',
    mapKeyType: 'uint32_t bpf_map__btf_key_type_id(const void *map)',
    mapValueType: 'uint32_t bpf_map__btf_value_type_id(const void *map)',
    mapIsInternal: 'bool bpf_map__is_internal(const void *map)',
    mapSetPinPath: 'int bpf_map__set_pin_path(void *map, const char *path)',
    mapInitialValue: 'void *bpf_map__initial_value(void *map, void *size)',
  });
  // Failures come back as errno and as the kernel's log; nothing of it goes to standard error.
  bound.setPrint(null);
  return bound;
}

type Library = ReturnType<typeof koffi.load>;

/** By their declarations in C; that the types of `T` say the same is up to who writes both. */
function bindAll<T>(library: Library, declarations: { readonly [Name in keyof T]: string }): T {
  const functions = Object.entries<string>(declarations).map(([name, text]) => [name, library.func(text)]);
  return Object.fromEntries(functions) as T;
}

function load(file: string, debianPackage: string): Library {
  try {
    return koffi.load(file);
  } catch (cause) {
    throw new HeddleError('LibraryMissing', `cannot load ${file}`, {
      hint: `install it: apt-get install ${debianPackage}`,
      cause,
    });
  }
}
