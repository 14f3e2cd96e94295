/** Packets for tests: servers that say who called them, clients that say what happened. */
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { bindUdp, connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { errnoCode } from '../../lib/errors.ts';
import { afterSilence, patience } from './pace.ts';

type After = Pick<TestContext, 'after'>;

/** `address` undefined: it did not come through; `why` says how (`ECONNREFUSED`, `ETIMEDOUT`). */
export interface Answer {
  /** Who answered. */
  readonly server?: string;
  /** Whom the server saw. */
  readonly seen?: string;
  readonly why?: string;
}

const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');

/** Says `name seen-address` to each connection and echoes what it is sent. */
export function serveTcp(t: After, ns: Netns, port: number, name: string): void {
  serveStreams(t, listenTcp(ns, '::', port), name);
}

/**
 * As `serveTcp`, by SCTP. At these addresses alone: of an end that is bound to all, the peer learns all, and asks at
 * those that no service has.
 */
export function serveSctp(
  t: After,
  ns: Netns,
  addresses: readonly string[],
  port: number,
  name: string,
): void {
  for (const address of addresses)
    serveStreams(t, listenTcp(ns, address, port, { sctp: true, v6Only: true }), name);
}

function serveStreams(t: After, fd: number, name: string): void {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.write(`${name} ${plain(socket.remoteAddress)}\n`);
    socket.pipe(socket);
  });
  server.listen({ fd });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

/** Answers each datagram with `name seen-address`. */
export function serveUdp(
  t: After,
  ns: Netns,
  addresses: readonly string[],
  port: number,
  name: string,
): void {
  for (const address of addresses) {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', () => {});
    socket.on('message', (_, from) =>
      socket.send(`${name} ${plain(from.address)}\n`, from.port, from.address),
    );
    socket.bind({ fd: bindUdp(ns, address, port) });
    t.after(() => void socket.close());
  }
}

/** A silent refusal shows only as time; this is what tests wait for what they expect not to come. */
const SILENCE_MS = 250 * patience;

/** What is expected to come has as long as a busy machine may take. */
const ANSWER_MS = 20_000 * patience;

export async function dialTcp(
  ns: Netns,
  host: string,
  port: number,
  options: { timeoutMs?: number; localPort?: number; localAddress?: string; sctp?: boolean } = {},
): Promise<Answer> {
  const { timeoutMs = SILENCE_MS, ...more } = options;
  const silent = new AbortController();
  const stop = afterSilence(timeoutMs, () => silent.abort(silence()));
  try {
    const socket = await connectTcp(ns, { ...more, host, port, timeoutMs: 60_000, signal: silent.signal });
    const answer = await firstLine(socket);
    socket.destroy();
    return answer;
  } catch (error) {
    return { why: errnoCode(error) ?? String(error) };
  } finally {
    stop();
  }
}

const silence = (): Error => Object.assign(new Error('silence'), { code: 'ETIMEDOUT' });

function firstLine(socket: Socket, timeoutMs = ANSWER_MS): Promise<Answer> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(timeoutMs, () => reject(silence()));
    socket.once('error', reject);
    socket.once('data', (data: Buffer) => resolve(parse(data.toString())));
  });
}

function parse(text: string): Answer {
  const [server, seen] = text.trim().split(' ');
  return { server: server ?? '', seen: seen ?? '' };
}

/** One datagram (again after 50 ms each), and its answer, which comes from whom was asked. */
export function dialUdp(
  ns: Netns,
  host: string,
  port: number,
  options: { timeoutMs?: number; localPort?: number; localAddress?: string; size?: number } = {},
): Promise<Answer> {
  const isV6 = host.includes(':');
  const socket = createSocket(isV6 ? 'udp6' : 'udp4');
  return new Promise((resolve) => {
    const finish = (answer: Answer) => {
      stop();
      clearInterval(again);
      socket.close();
      resolve(answer);
    };
    const send = () =>
      socket.send(
        Buffer.alloc(options.size ?? 1),
        port,
        host,
        (error) => error && finish({ why: errnoCode(error) ?? '' }),
      );
    const stop = afterSilence(options.timeoutMs ?? SILENCE_MS, () => finish({ why: 'ETIMEDOUT' }));
    const again = setInterval(send, 50);
    socket.once('message', (data, from) =>
      finish(from.address === host ? parse(data.toString()) : { why: `${from.address} answers` }),
    );
    socket.on('error', (error) => finish({ why: errnoCode(error) ?? '' }));
    const address = options.localAddress ?? (isV6 ? '::' : '0.0.0.0');
    socket.bind({ fd: bindUdp(ns, address, options.localPort ?? 0) }, send);
  });
}

/** One socket that asks again and again, unconnected. */
export function keepUdp(t: After, ns: Netns, isV6: boolean) {
  const socket = createSocket(isV6 ? 'udp6' : 'udp4');
  t.after(() => void socket.close());
  socket.on('error', () => {});
  const bound = new Promise<void>((resolve) =>
    socket.bind({ fd: bindUdp(ns, isV6 ? '::' : '0.0.0.0', 0) }, resolve),
  );
  return async (host: string, port: number): Promise<Answer> => {
    await bound;
    return new Promise((resolve) => {
      const finish = (answer: Answer) => {
        clearInterval(again);
        stop();
        socket.off('message', onMessage);
        resolve(answer);
      };
      const onMessage = (data: Buffer) => finish(parse(data.toString()));
      const send = () => socket.send('?', port, host);
      const again = setInterval(send, 50);
      const stop = afterSilence(SILENCE_MS, () => finish({ why: 'ETIMEDOUT' }));
      socket.on('message', onMessage);
      send();
    });
  };
}

/** A connection that is kept, and asked whether it still lives. */
export async function keepTcp(
  t: After,
  ns: Netns,
  host: string,
  port: number,
  options: { timeoutMs?: number; localAddress?: string; sctp?: boolean } = {},
) {
  const socket = await connectTcp(ns, { timeoutMs: ANSWER_MS, ...options, host, port });
  socket.on('error', () => {});
  t.after(() => void socket.destroy());
  const { server } = await firstLine(socket, options.timeoutMs);
  socket.setTimeout(0);
  return {
    socket,
    server,
    /** True if what is sent comes back. */
    async echo(timeoutMs = ANSWER_MS): Promise<boolean> {
      return new Promise((resolve) => {
        const timer = setTimeout(() => finish(false), timeoutMs);
        const onData = () => finish(true);
        const finish = (alive: boolean) => {
          clearTimeout(timer);
          socket.off('data', onData);
          resolve(alive);
        };
        socket.on('data', onData);
        socket.write('ping\n');
      });
    },
  };
}

/** The error that a connected UDP socket is told. */
export function connectedError(t: After, ns: Netns, to: string, port: number): Promise<string> {
  const socket = createSocket(to.includes(':') ? 'udp6' : 'udp4');
  t.after(() => void socket.close());
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve('silence'), ANSWER_MS);
    socket.on('error', (error) => {
      clearTimeout(timer);
      resolve((error as NodeJS.ErrnoException).code ?? '');
    });
    socket.bind({ fd: bindUdp(ns, to.includes(':') ? '::' : '0.0.0.0', 0) }, () =>
      socket.connect(port, to, () => socket.send('?')),
    );
  });
}
