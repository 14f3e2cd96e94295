/**
 * DNS by TCP on one address (RFC 7766): messages with their length before them, any number on a connection,
 * answered in their order. Who is idle, asks too long a question or does not read is cut off.
 */
import { once } from 'node:events';
import net from 'node:net';
import type { Listener, Service } from './server.ts';

/** Bytes; a question with options has a few hundred. */
const MAX_QUERY = 4096;
const MAX_CONNECTIONS = 256;

export async function listenTcp(
  service: Service,
  address: string,
  port: number,
  idleMs: number,
): Promise<Listener> {
  const connections = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serveConnection(service, socket, idleMs);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen({ host: address, port, ipv6Only: address.includes(':'), exclusive: true });
  await once(server, 'listening');
  const failed = new Promise<unknown>((resolve) => {
    server.on('error', resolve);
  });
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound ? bound.port : port,
    failed,
    close() {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
}

function serveConnection(service: Service, socket: net.Socket, idleMs: number): void {
  const client = socket.remoteAddress ?? '';
  let waiting: Buffer = Buffer.alloc(0);
  let working = false;
  let ended = false;

  /** The next whole message; undefined until there is one. Cuts off who announces too long a one. */
  function nextQuery(): Buffer | undefined {
    if (waiting.length < 2) return undefined;
    const length = waiting.readUInt16BE(0);
    if (length > MAX_QUERY) {
      socket.destroy();
      return undefined;
    }
    if (waiting.length < 2 + length) return undefined;
    const query = waiting.subarray(2, 2 + length);
    waiting = waiting.subarray(2 + length);
    return query;
  }

  async function answerAll(): Promise<void> {
    for (let query = nextQuery(); query && !socket.destroyed; query = nextQuery()) {
      const response = service.handle(query, 'tcp', client);
      const ready = response instanceof Promise ? await response : response;
      if (!ready) socket.destroy();
      else await write(socket, ready);
    }
  }

  /** Nothing more is read while answers are due: a fast asker waits for its own slow reading. */
  async function work(): Promise<void> {
    if (working) return;
    working = true;
    socket.pause();
    try {
      await answerAll();
    } catch {
      socket.destroy();
    }
    working = false;
    if (ended && !socket.destroyed) socket.end();
    else socket.resume();
  }

  socket.setTimeout(idleMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    void work();
  });
  socket.on('end', () => {
    ended = true;
    void work();
  });
}

async function write(socket: net.Socket, response: Buffer): Promise<void> {
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16BE(response.length);
  socket.cork();
  socket.write(length);
  const open = socket.write(response);
  socket.uncork();
  if (open || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}
