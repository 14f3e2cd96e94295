/** Exec, attach, port-forward and logs by hand, over TLS, so that a test decides how each connection ends. */
import { connect, type TLSSocket } from 'node:tls';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { controlFrame, dataFrame, Type } from '../../src/lib/spdy/frame.ts';
import { createHeaderWriter } from '../../src/lib/spdy/headers.ts';

export interface Connection {
  /** All that came, frames and all. */
  text(): string;
  send(bytes: Buffer): void;
  /** Resolves when the text has it; rejects when the connection ends before. */
  until(words: string | RegExp): Promise<void>;
  /** As a killed client leaves it. */
  reset(): void;
  /** The client says no more, and stays. */
  end(): void;
  /** The client takes no more. */
  stall(): void;
  readonly closed: Promise<void>;
}

type Tls = { host: string; port: number; ca: string; cert: string; key: string };

/** Path below `/api/v1`, and whatever headers the upgrade needs. */
export type Dial = (path: string, headers: Readonly<Record<string, string>>) => Promise<Connection>;

export async function dialer(kubeconfig: string): Promise<Dial> {
  const { client } = await loadKubeconfig(kubeconfig);
  const { hostname, port } = new URL(client.server);
  const { ca = '', cert = '', key = '' } = client as Partial<Tls>;
  return async (path, headers) => {
    const options = { host: hostname, port: Number(port), ca, cert, key, allowHalfOpen: true };
    const socket = connect(options);
    const lines = Object.entries({ host: `${hostname}:${port}`, ...headers }).map((pair) => pair.join(': '));
    socket.write(`GET /api/v1${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    const connection = watched(socket);
    await connection.until(/^HTTP\/1\.1 (101|200)[^]*?\r\n\r\n/);
    return connection;
  };
}

function watched(socket: TLSSocket): Connection {
  let text = '';
  const waiters = new Set<() => void>();
  const wake = () => waiters.forEach((go) => go());
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    text += chunk;
    wake();
  });
  socket.on('error', () => socket.destroy());
  // Whoever ended its own half waits for the other.
  socket.on('end', () => socket.destroy());
  socket.on('close', wake);
  const has = (words: string | RegExp) =>
    typeof words === 'string' ? text.includes(words) : words.test(text);
  return {
    text: () => text,
    send: (bytes) => void socket.write(bytes),
    until: (words) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!has(words) && !socket.closed) return;
          waiters.delete(look);
          if (has(words)) resolve();
          else reject(new Error(`it ended before ${String(words)}: ${text.slice(-500)}`));
        };
        waiters.add(look);
        look();
      }),
    reset: () => void socket.destroy(),
    end: () => void socket.end(),
    stall: () => void socket.pause(),
    closed,
  };
}

const WS_HEADERS = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};

export const webSocket = (protocol: string) => ({ ...WS_HEADERS, 'sec-websocket-protocol': protocol });

/** A short message, masked with nothing. */
export const message = (payload: string | Buffer, opcode = 2): Buffer =>
  Buffer.concat([
    Buffer.of(0x80 | opcode, 0x80 | Buffer.byteLength(payload), 0, 0, 0, 0),
    Buffer.from(payload),
  ]);

export const closing = message(Buffer.of(3, 232), 8);

export const spdy = (protocol: string) => ({
  connection: 'Upgrade',
  upgrade: 'SPDY/3.1',
  'x-stream-protocol-version': protocol,
});

/** Opens streams, odd numbers from 1 on, with these headers each. */
export function openStreams(connection: Connection, streams: readonly Readonly<Record<string, string>>[]) {
  const write = createHeaderWriter();
  for (const [i, headers] of streams.entries())
    connection.send(
      controlFrame(Type.synStream, 0, 2 * i + 1, 0, Buffer.alloc(2), write(new Map(Object.entries(headers)))),
    );
  return {
    say: (stream: number, text: string, last = false) =>
      connection.send(dataFrame(stream, Buffer.from(text), last)),
  };
}
