/** Connections on which the server speaks when it is told to, and the client never does. */
import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { afterSilence, patience } from './pace.ts';

type After = Pick<TestContext, 'after'>;

export interface PushedTcp {
  /** True if what the server says arrives. */
  push(timeoutMs?: number): Promise<boolean>;
}

export interface PushServer {
  keep(from: Netns, host: string, port: number): Promise<PushedTcp>;
}

export async function servePushes(t: After, ns: Netns, port: number): Promise<PushServer> {
  const server = createServer();
  const accepted: Socket[] = [];
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    accepted.push(socket);
  });
  server.listen({ fd: listenTcp(ns, '::', port) });
  await once(server, 'listening');
  t.after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  return {
    async keep(from, host, to) {
      const [connected, client] = await Promise.all([
        once(server, 'connection'),
        connectTcp(from, { host, port: to, timeoutMs: 2000 * patience }),
      ]);
      const [socket] = connected as [Socket];
      client.on('error', () => {});
      t.after(() => void client.destroy());
      return { push: (timeoutMs = 2000 * patience) => pushOver(socket, client, timeoutMs) };
    },
  };
}

function pushOver(from: Socket, to: Socket, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const stop = afterSilence(timeoutMs, () => finish(false));
    const onData = () => finish(true);
    const finish = (arrived: boolean) => {
      stop();
      to.off('data', onData);
      resolve(arrived);
    };
    to.on('data', onData);
    from.write('now\n');
  });
}
