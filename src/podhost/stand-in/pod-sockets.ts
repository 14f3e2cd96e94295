/** All sockets of one stand-in pod: what is open follows what is asked for. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { errorText } from '../../lib/errors.ts';
import { type Connection, connectionOf, describe, plainAddress } from './connection.ts';
import type { StandInPod, StandInPodStatus } from './types.ts';
import { WHO_AM_I } from './types.ts';

/** Opens a socket inside the pod's namespace, bound and (TCP) listening, on both families; gives its descriptor. */
export interface PodSocketOpener {
  listenTcp(port: number): number;
  bindUdp(port: number): number;
}

export interface PodSocketsDeps {
  pod: StandInPod;
  open: PodSocketOpener;
  onTcp(socket: Socket, connection: Connection): void;
  onUdp(connection: Connection, bytes: number): void;
  /** False when the process has as many connections as it may. */
  admit(): boolean;
}

export interface PodSockets {
  /** Opens what is missing and closes what is no longer asked for. */
  apply(tcp: readonly number[], udp: readonly number[]): void;
  errors(): StandInPodStatus['errors'];
  readonly connections: number;
  close(): void;
}

/** Connections one pod serves at once; more wait in the kernel's queue or are refused. */
const MAX_CONNECTIONS = 4000;

export function createPodSockets(deps: PodSocketsDeps): PodSockets {
  const open = new Map<string, { close(): void }>();
  const errors = new Map<string, StandInPodStatus['errors'][number]>();
  const sockets = new Set<Socket>();

  function openTcp(port: number): { close(): void } {
    const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
      if (sockets.size >= MAX_CONNECTIONS || !deps.admit()) {
        socket.destroy();
        return;
      }
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      deps.onTcp(socket, connectionOf(deps.pod, socket));
    });
    server.on('error', (error) => fail('TCP', port, error));
    server.listen({ fd: deps.open.listenTcp(port) });
    return server;
  }

  function openUdp(port: number): { close(): void } {
    const socket: UdpSocket = createSocket('udp6');
    socket.on('error', (error) => fail('UDP', port, error));
    socket.on('message', (message, from) => {
      const peer = { address: plainAddress(from.address), port: from.port };
      const connection = describe(deps.pod, peer, { address: '', port });
      deps.onUdp(connection, message.length);
      // Answers are dropped rather than queued without end.
      if (socket.getSendQueueSize() > 1 << 20) return;
      const asked = message.toString('latin1') === WHO_AM_I;
      socket.send(
        asked ? JSON.stringify(connection.echo('UDP')) : message,
        from.port,
        from.address,
        () => {},
      );
    });
    socket.bind({ fd: deps.open.bindUdp(port) });
    return socket;
  }

  function fail(protocol: 'TCP' | 'UDP', port: number, error: unknown): void {
    const key = `${protocol} ${port}`;
    errors.set(key, { port, protocol, error: errorText(error) });
    open.get(key)?.close();
    open.delete(key);
  }

  function ensure(protocol: 'TCP' | 'UDP', port: number): void {
    const key = `${protocol} ${port}`;
    if (open.has(key)) return;
    errors.delete(key);
    try {
      open.set(key, protocol === 'TCP' ? openTcp(port) : openUdp(port));
    } catch (error) {
      fail(protocol, port, error);
    }
  }

  return {
    apply(tcp, udp) {
      const wanted = new Set([...tcp.map((port) => `TCP ${port}`), ...udp.map((port) => `UDP ${port}`)]);
      for (const [key, socket] of open) {
        if (wanted.has(key)) continue;
        socket.close();
        open.delete(key);
      }
      for (const key of errors.keys()) if (!wanted.has(key)) errors.delete(key);
      for (const port of tcp) ensure('TCP', port);
      for (const port of udp) ensure('UDP', port);
    },
    errors: () => [...errors.values()],
    get connections() {
      return sockets.size;
    },
    close() {
      for (const socket of open.values()) socket.close();
      open.clear();
      for (const socket of sockets) socket.destroy();
    },
  };
}
