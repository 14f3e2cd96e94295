/**
 * Two ends of TCP, both driven by this one thread: what is measured is the path of the packets on one core, without a
 * scheduler in between.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import { type Socket, createServer } from 'node:net';
import { libc } from '../src/kernel/ffi.ts';
import { inNetns, type Netns } from '../src/kernel/netns.ts';
import { connectTcp, listenTcp } from '../src/kernel/sockets.ts';

export interface Connection {
  /** Seconds for `count` round trips of one byte. */
  roundTrips(count: number): number;
  /** Seconds for `count` connections that are opened, accepted and closed. */
  connects(count: number): number;
  /** Seconds for `megabytes` one way. */
  stream(megabytes: number): number;
  close(): void;
}

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const PORT = 7000;
/** What a sender has on its way before the receiver's turn. */
const CHUNK = 256 * 1024;
const MEGABYTE = 1024 * 1024;

const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

export async function connect(client: Netns, server: Netns, address: string): Promise<Connection> {
  const listener = createServer({ pauseOnConnect: true, noDelay: true });
  listener.listen({ fd: listenTcp(server, address, PORT) });
  await once(listener, 'listening');
  const accepting = once(listener, 'connection') as Promise<[Socket]>;
  const near = await connectTcp(client, { host: address, port: PORT });
  near.setNoDelay(true);
  const [far] = await accepting;
  const [a, b] = [fdOf(near), fdOf(far)];
  const byte = Buffer.alloc(1);
  const pass = (from: number, to: number) => {
    if (libc.send(from, byte, 1, 0) !== 1) throw new Error('the connection broke');
    // Not there yet means that the kernel left the packet to a later softirq.
    while (libc.recv(to, byte, 1, 0) !== 1);
  };
  return {
    roundTrips(count) {
      const start = performance.now();
      for (let i = 0; i < count; i++) {
        pass(a, b);
        pass(b, a);
      }
      return (performance.now() - start) / 1000;
    },
    connects: (count) => connectAndClose({ client, server, address }, count),
    stream(megabytes) {
      const [data, into] = [Buffer.alloc(CHUNK), Buffer.alloc(2 * CHUNK)];
      const start = performance.now();
      for (let sent = 0, got = 0; got < megabytes * MEGABYTE; ) {
        if (sent < megabytes * MEGABYTE) sent += Math.max(0, libc.send(a, data, CHUNK, 0));
        for (let read = 1; read > 0; got += Math.max(0, read)) read = libc.recv(b, into, into.length, 0);
      }
      return (performance.now() - start) / 1000;
    },
    close() {
      near.destroy();
      far.destroy();
      listener.close();
    },
  };
}

/** Blocking sockets: the handshake is over when connect returns, and the connection waits to be accepted. */
function connectAndClose(ends: { client: Netns; server: Netns; address: string }, count: number): number {
  const to = Buffer.alloc(16);
  to.writeUInt16LE(AF_INET, 0);
  to.writeUInt16BE(PORT + 1, 2);
  to.set(ends.address.split('.').map(Number), 4);
  const listener = inNetns(ends.server, () => libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (libc.bind(listener, to, to.length) !== 0 || libc.listen(listener, 128) !== 0)
    throw new Error('the server has no port');
  try {
    return inNetns(ends.client, () => {
      const start = performance.now();
      for (let i = 0; i < count; i++) {
        const near = libc.socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (libc.connect(near, to, to.length) !== 0) throw new Error('the server cannot be reached');
        const far = libc.accept4(listener, null, null, SOCK_CLOEXEC);
        fs.closeSync(near);
        fs.closeSync(far);
      }
      return (performance.now() - start) / 1000;
    });
  } finally {
    fs.closeSync(listener);
  }
}
