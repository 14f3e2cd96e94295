/**
 * Sockets in other namespaces. Node opens its own in the next tick, when this thread is back home; so the
 * descriptor is made here and handed over: `server.listen({fd})`, `socket.bind({fd})`, `new net.Socket({fd})`.
 */
import fs from 'node:fs';
import net from 'node:net';
import { type Address, formatAddress, formatHostPort, parseAddress } from '../lib/ip.ts';
import { protocolNumbers } from '../lib/protocols.ts';
import { errnoHint, errnoName, errnoNumbers, lastErrno, libc, watchFd } from './ffi.ts';
import { setOption } from './netlink-socket.ts';
import { inNetns, type Netns } from './netns.ts';
import { AF_INET, AF_INET6, socketAddress } from './socket-address.ts';
import { setTcpMd5, setTtl, type Ttl } from './tcp-options.ts';

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_REUSEPORT = 15;
const SO_MARK = 36;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
const IPV6_DONTFRAG = 62;
const PMTUDISC_PROBE = 3;

/** The error of a socket call, as Node's own look: `code`, `syscall`, `address`, `port`. */
export interface SocketError extends Error {
  code: string;
  syscall: string;
  address?: string;
  port?: number;
  hint?: string;
}

function socketError(syscall: string, code: string, address?: string, port?: number): SocketError {
  const to = address === undefined || port === undefined ? '' : ` ${formatHostPort(address, port)}`;
  const error = new Error(`${syscall} ${code}${to}`);
  return Object.assign(error, { code, syscall, address, port, hint: errnoHint(code) });
}

interface SocketOptions {
  reusePort?: boolean;
  /** Of an IPv6 wildcard: leave IPv4 to others. Default false. */
  v6Only?: boolean;
  /** SO_MARK, for rules that tell our own traffic apart. */
  mark?: number;
  /** Of TCP: RFC 2385's shared key, with the one peer it is for. */
  md5?: { peer: string; key: string; scope?: number };
  /** What packets leave with, and the least that is taken (RFC 5082). Default: the kernel's. */
  ttl?: Ttl;
  /** Packets go whole or not at all, whatever was learned of the path: the sender looks for its MTU (RFC 8899). */
  whole?: boolean;
  /** Instead of TCP: an association of SCTP, one for each socket (RFC 6458 section 4). Default false. */
  sctp?: boolean;
}

function open(ns: Netns | undefined, type: number, address: Address, options: SocketOptions): number {
  const family = address.family === 4 ? AF_INET : AF_INET6;
  const protocol = options.sctp ? protocolNumbers.SCTP : 0;
  const make = () => libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  const fd = ns ? inNetns(ns, make) : make();
  if (fd < 0) throw socketError('socket', errnoName(lastErrno()));
  if (type === SOCK_STREAM) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reusePort) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (options.mark !== undefined) setOption(fd, SOL_SOCKET, SO_MARK, options.mark);
  if (address.family === 6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.v6Only ? 1 : 0);
  const { md5, ttl } = options;
  return guarded(fd, () => {
    if (ttl) setTtl(fd, address.family, ttl);
    if (options.whole) keepWhole(fd, address.family);
    if (md5) setTcpMd5(fd, md5.peer, md5.key, md5.scope);
    return fd;
  });
}

function keepWhole(fd: number, family: 4 | 6): void {
  const [level, discover] = family === 4 ? [IPPROTO_IP, IP_MTU_DISCOVER] : [IPPROTO_IPV6, IPV6_MTU_DISCOVER];
  setOption(fd, level, discover, PMTUDISC_PROBE);
  if (family === 6) setOption(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
}

/** Closes the descriptor when `fn` throws. */
function guarded<T>(fd: number, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function bindTo(fd: number, text: string, port: number): void {
  const address = socketAddress(parseAddress(text), port);
  if (libc.bind(fd, address, address.length) !== 0)
    throw socketError('bind', errnoName(lastErrno()), text, port);
}

/** A listening descriptor for `server.listen({fd})`. `port` 0 lets the kernel choose. */
export function listenTcp(
  ns: Netns | undefined,
  address: string,
  port: number,
  options: SocketOptions & { backlog?: number } = {},
): number {
  const fd = open(ns, SOCK_STREAM, parseAddress(address), options);
  return guarded(fd, () => {
    bindTo(fd, address, port);
    if (libc.listen(fd, options.backlog ?? 511) !== 0)
      throw socketError('listen', errnoName(lastErrno()), address, port);
    return fd;
  });
}

/** Throws as `listenTcp` would, but listens never: two that ask at once do not find each other. */
export function checkTcp(ns: Netns | undefined, address: string, port: number): void {
  const fd = open(ns, SOCK_STREAM, parseAddress(address), {});
  guarded(fd, () => bindTo(fd, address, port));
  fs.closeSync(fd);
}

export interface Accepting {
  /** Stops, and closes the listening descriptor; resolves once others may listen there. */
  close(): Promise<void>;
}

/**
 * Takes connections of the listening descriptor `fd`: for those whose own descriptor matters, which
 * `server.listen` hides.
 */
export function acceptTcp(fd: number, onConnection: (socket: net.Socket, fd: number) => void): Accepting {
  const watch = watchFd(fd, 'readable', () => {
    for (;;) {
      const taken = libc.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      // Nobody waits any more, or the one who did has gone, or descriptors are short: the next event tells.
      if (taken < 0) return;
      onConnection(new net.Socket({ fd: taken, readable: true, writable: true }), taken);
    }
  });
  let closed: Promise<void> | undefined;
  const close = () => {
    watch.close();
    // The watch leaves the loop's tables in this turn; the descriptor may go to others in the next one.
    return new Promise<void>((resolve) => {
      setImmediate(() => {
        fs.closeSync(fd);
        resolve();
      });
    });
  };
  return { close: () => (closed ??= close()) };
}

/** A bound descriptor for `dgram.createSocket('udp4' or 'udp6').bind({fd})`. */
export function bindUdp(
  ns: Netns | undefined,
  address: string,
  port: number,
  options: SocketOptions = {},
): number {
  const fd = open(ns, SOCK_DGRAM, parseAddress(address), options);
  return guarded(fd, () => {
    bindTo(fd, address, port);
    return fd;
  });
}

export interface ConnectOptions extends SocketOptions {
  /** An address, not a name. */
  host: string;
  port: number;
  /** Default 5,000. */
  timeoutMs?: number;
  /** Source address, and source port where it matters. */
  localAddress?: string;
  localPort?: number;
  /** Index of the link, for an fe80 host. */
  scope?: number;
  signal?: AbortSignal;
}

/**
 * A connected socket in `ns`. Rejects with a SocketError (`ECONNREFUSED`, `ETIMEDOUT` after `timeoutMs` too,
 * `EHOSTUNREACH` …) or the reason of `signal`.
 */
export async function connectTcp(ns: Netns | undefined, options: ConnectOptions): Promise<net.Socket> {
  options.signal?.throwIfAborted();
  const fd = open(ns, SOCK_STREAM, parseAddress(options.host), options);
  try {
    startConnect(fd, options);
    await connected(fd, options);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  return new net.Socket({ fd, readable: true, writable: true });
}

/** The same in the namespace that the process is in, by Node's own means, which cost a fifth of ours. */
export function connectTcpHere(to: Pick<ConnectOptions, 'host' | 'port' | 'timeoutMs'>): Promise<net.Socket> {
  const { host, port, timeoutMs = 5000 } = to;
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: formatAddress(parseAddress(host)), port });
    const fail = (code: string) => {
      clearTimeout(timer);
      socket.destroy();
      reject(socketError('connect', code, host, port));
    };
    const onError = (error: NodeJS.ErrnoException) => fail(error.code ?? 'EIO');
    // A connection that came while the loop was busy is told after the timers.
    const timer = setTimeout(() => setImmediate(() => socket.connecting && fail('ETIMEDOUT')), timeoutMs);
    socket.once('error', onError).once('connect', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

function startConnect(fd: number, { host, port, localAddress, localPort, scope }: ConnectOptions): void {
  if (localAddress !== undefined) bindTo(fd, localAddress, localPort ?? 0);
  const address = socketAddress(parseAddress(host), port, scope);
  if (libc.connect(fd, address, address.length) === 0) return;
  const code = errnoName(lastErrno());
  if (code !== 'EINPROGRESS') throw socketError('connect', code, host, port);
}

function connected(fd: number, options: ConnectOptions): Promise<void> {
  const { host, port, timeoutMs = 5000, signal } = options;
  return new Promise((resolve, reject) => {
    let isOver = false;
    const finish = (error?: unknown) => {
      if (isOver) return;
      isOver = true;
      watch.close();
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      // The watch leaves the loop's tables in this turn; the descriptor may go to others in the next one.
      setImmediate(() => (error === undefined ? resolve() : reject(error)));
    };
    const onAbort = () => finish(signal?.reason);
    const watch = watchFd(fd, 'writable', () => {
      const errno = pendingError(fd);
      finish(errno === 0 ? undefined : socketError('connect', errnoName(errno), host, port));
    });
    // A connection that came while the loop was busy is told after the timers.
    const timer = setTimeout(
      () => setImmediate(() => finish(socketError('connect', 'ETIMEDOUT', host, port))),
      timeoutMs,
    );
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function pendingError(fd: number): number {
  const value = Buffer.alloc(4);
  const length = Buffer.from([4, 0, 0, 0]);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length) !== 0) return errnoNumbers['EBADF'] ?? 9;
  return value.readInt32LE(0);
}
