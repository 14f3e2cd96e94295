/**
 * Request and response over one TCP connection, both ends driven by this one thread: what is measured is the
 * path of the packets on one core, without a scheduler in between.
 */
import { once } from 'node:events';
import { type Socket, createServer } from 'node:net';
import { libc } from '../src/kernel/ffi.ts';
import type { Netns } from '../src/kernel/netns.ts';
import { connectTcp, listenTcp } from '../src/kernel/sockets.ts';

export interface Connection {
  /** Seconds for `count` round trips of one byte. */
  roundTrips(count: number): number;
  close(): void;
}

const fdOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

export async function connect(client: Netns, server: Netns, address: string): Promise<Connection> {
  const listener = createServer({ pauseOnConnect: true, noDelay: true });
  listener.listen({ fd: listenTcp(server, address, 7000) });
  await once(listener, 'listening');
  const accepting = once(listener, 'connection') as Promise<[Socket]>;
  const near = await connectTcp(client, { host: address, port: 7000 });
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
    close() {
      near.destroy();
      far.destroy();
      listener.close();
    },
  };
}
