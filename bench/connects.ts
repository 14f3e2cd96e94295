/**
 * How long connect() takes, of blocking sockets in one thread: the handshake is over when the call returns, with the
 * server's half done by the kernel. Connections end by reset, so that no port waits.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer, type Server } from 'node:net';
import { errnoName, lastErrno, libc } from '../src/kernel/ffi.ts';
import { inNetns, type Netns } from '../src/kernel/netns.ts';
import { listenTcp } from '../src/kernel/sockets.ts';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
/** Of connections made before the server takes them; below its backlog. */
const BLOCK = 250;
const RESET = new Uint8Array(Uint32Array.of(1, 0).buffer);

export interface Sink {
  readonly taken: () => number;
  close(): void;
}

/** A server at `port` of all addresses that takes connections and lets them go. */
export async function createSink(ns: Netns, port: number): Promise<Sink> {
  let taken = 0;
  const server: Server = createServer({ pauseOnConnect: true }, (socket) => {
    taken++;
    socket.on('error', () => {});
    socket.destroy();
  });
  server.listen({ fd: listenTcp(ns, '0.0.0.0', port, { backlog: 4096 }) });
  await once(server, 'listening');
  return { taken: () => taken, close: () => void server.close() };
}

export interface Target {
  readonly ns: Netns;
  readonly host: string;
  readonly port: number;
  /** Before sockets are made: which cgroup they shall be in. */
  readonly enter?: () => void;
  readonly sinks: readonly Sink[];
}

export function sockaddr4(host: string, port: number): Uint8Array {
  const out = Buffer.alloc(16);
  out.writeUInt16LE(AF_INET, 0);
  out.writeUInt16BE(port, 2);
  out.set(host.split('.').map(Number), 4);
  return out;
}

/** The median of `count` connects, in microseconds. */
export async function connectMicros(target: Target, count: number): Promise<number> {
  const address = sockaddr4(target.host, target.port);
  const times: number[] = [];
  target.enter?.();
  while (times.length < count) {
    const taken = total(target.sinks) + BLOCK;
    for (let i = 0; i < BLOCK; i++) times.push(connectOnce(target, address));
    // What the server did not take yet would make the next ones wait.
    while (total(target.sinks) < taken) await new Promise((resolve) => setImmediate(resolve));
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? Number.NaN;
}

const total = (sinks: readonly Sink[]): number => sinks.reduce((sum, sink) => sum + sink.taken(), 0);

function connectOnce({ ns, host, port }: Target, address: Uint8Array): number {
  const fd = inNetns(ns, () => libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, RESET, 8);
  const start = performance.now();
  const result = libc.connect(fd, address, address.length);
  const end = performance.now();
  if (result !== 0) throw new Error(`connect ${host}:${port}: ${errnoName(lastErrno())}`);
  fs.closeSync(fd);
  return (end - start) * 1000;
}
