/** Connections of a speaker: over TCP in a namespace, with RFC 2385 and RFC 5082; a fake in tests of the machine. */
import type net from 'node:net';
import { acceptTcp, connectTcp, listenTcp } from '../kernel/sockets.ts';
import { setTcpMd5, setTtl, type Ttl } from '../kernel/tcp-options.ts';
import type { Netns } from '../kernel/netns.ts';
import type { Log } from '../lib/log.ts';
import { errorText } from '../lib/errors.ts';
import type { PeerConfig } from './config.ts';

export interface Wire {
  readonly localAddress: string;
  readonly remoteAddress: string;
  /** Octets that wait for the kernel to take them. */
  readonly pending: number;
  send(data: Uint8Array): void;
  /** After what was sent has gone out. */
  close(): void;
  /** Set once, at once, by whoever owns the wire. `onClose` is called once, also after `close`. */
  listen(handlers: { onData(data: Uint8Array): void; onDrain(): void; onClose(why: string): void }): void;
}

export interface Listening {
  /** Whoever connects from now on: keys of RFC 2385 of these, and of no others. */
  setPeers(peers: readonly PeerConfig[]): void;
  close(): Promise<void>;
}

export interface Transport {
  /** Rejects as `connectTcp` does. */
  dial(peer: PeerConfig, ttl: Ttl | undefined, signal: AbortSignal): Promise<Wire>;
  /** `remoteAddress` without a scope. */
  listen(options: {
    addresses: readonly string[];
    port: number;
    peers: readonly PeerConfig[];
    ttlOf(remoteAddress: string): Ttl | undefined;
    onWire(wire: Wire): void;
  }): Listening;
}

/** How long a peer that does not read holds the last words back. */
const LINGER_MS = 2000;

const familyOf = (address: string) => (address.includes(':') ? 6 : 4);
const withoutScope = (address: string) => address.replace(/%.*$/, '');

export interface TcpTransportDeps {
  netns: Netns | undefined;
  /** Index of a link. */
  linkIndex(name: string): number | undefined;
  log: Log;
  /** Default 10,000. */
  connectTimeoutMs?: number;
}

export function createTcpTransport(deps: TcpTransportDeps): Transport {
  const { netns, linkIndex, log, connectTimeoutMs: timeoutMs = 10_000 } = deps;
  const scopeOf = (peer: PeerConfig) =>
    peer.interface === undefined ? undefined : linkIndex(peer.interface);

  return {
    async dial(peer, ttl, signal) {
      const { peerAddress, peerPort = 179, localAddress, password } = peer;
      const scope = scopeOf(peer);
      const md5 = password === undefined ? undefined : { peer: peerAddress, key: password, scope };
      const options = { host: peerAddress, port: peerPort, localAddress, scope, ttl, md5, timeoutMs, signal };
      return wireOf(await connectTcp(netns, options));
    },

    listen({ addresses, port, peers, ttlOf, onWire }) {
      const keys = new Map<string, { fd: number; peer: PeerConfig }>();
      const fds: { fd: number; address: string }[] = [];

      function setKeys(now: readonly PeerConfig[]): void {
        const wanted = new Map<string, { fd: number; peer: PeerConfig }>();
        for (const { fd, address } of fds)
          for (const peer of now)
            if (peer.password !== undefined && familyOf(peer.peerAddress) === familyOf(address))
              wanted.set(`${fd} ${peer.peerAddress} ${peer.interface ?? ''}`, { fd, peer });
        for (const [key, { fd, peer }] of keys)
          if (!wanted.has(key)) setTcpMd5(fd, peer.peerAddress, '', scopeOf(peer));
        for (const [key, { fd, peer }] of wanted)
          if (keys.get(key)?.peer.password !== peer.password)
            setTcpMd5(fd, peer.peerAddress, peer.password ?? '', scopeOf(peer));
        keys.clear();
        for (const [key, one] of wanted) keys.set(key, one);
      }

      const listeners = addresses.map((address) => {
        const fd = listenTcp(netns, address, port, { v6Only: true, ttl: { send: 255 } });
        fds.push({ fd, address });
        return { fd, address };
      });
      setKeys(peers);
      const accepting = listeners.map(({ fd, address }) =>
        acceptTcp(fd, (socket, taken) => {
          try {
            const remote = withoutScope(socket.remoteAddress ?? '');
            const ttl = ttlOf(remote);
            if (ttl) setTtl(taken, familyOf(address), ttl);
            onWire(wireOf(socket));
          } catch (error) {
            log.warn('a BGP connection was lost as it came', { error: errorText(error) });
            socket.destroy();
          }
        }),
      );
      return {
        setPeers: setKeys,
        async close() {
          await Promise.all(accepting.map((listener) => listener.close()));
        },
      };
    },
  };
}

export function wireOf(socket: net.Socket): Wire {
  let why = 'the peer closed the connection';
  socket.setNoDelay(true);
  // Until somebody listens.
  socket.on('error', (error) => (why = errorText(error)));
  return {
    localAddress: withoutScope(socket.localAddress ?? ''),
    remoteAddress: withoutScope(socket.remoteAddress ?? ''),
    get pending() {
      return socket.writableLength;
    },
    send(data) {
      if (socket.writable) socket.write(data);
    },
    close() {
      why = 'closed by this end';
      socket.end();
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    },
    listen({ onData, onDrain, onClose }) {
      socket.on('data', onData);
      socket.on('drain', onDrain);
      socket.once('close', () => onClose(why));
      socket.once('end', () => socket.end());
    },
  };
}
