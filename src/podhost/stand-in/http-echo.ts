/** HTTP/1.1 and h2c: every path answers 200 with what the pod saw of the request. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createServer2, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import { keyOf } from '../../lib/websocket.ts';
import type { Connection } from './connection.ts';
import type { Outcome } from './behave.ts';
import { ECHO_METADATA } from './call.ts';
import { BUDGET_HEADER } from './call-budget.ts';
import { answerGrpc, failGrpc, isHealth } from './grpc.ts';
import type { Echo } from './types.ts';
import { serveWebSocket } from './websocket-echo.ts';

/** Bytes of a request body that the answer repeats. */
const MAX_BODY = 64 * 1024;
/** Characters of metadata that tell of a tree of calls; more than that and clients would refuse the answer. */
const MAX_METADATA = 48 * 1024;

export interface RequestLine {
  protocol: string;
  method: string;
  path: string;
  status: number;
  bytes: number;
  /** A kubelet's probe: not worth a line each. */
  probe: boolean;
}

export interface HttpEchoDeps {
  /** Milliseconds an HTTP/2 client has to say its settings. Default 10,000. */
  handshakeMs?: number;
  /** Whether an answer now ends the connection, as its pod is about to go. */
  draining?(connection: Connection): boolean;
  /** What happens before the answer to a request that is no probe; undefined: nothing. Never rejects. */
  behave?(
    connection: Connection,
    headers: IncomingHttpHeaders,
    asker: AbortController,
  ): Promise<Outcome> | undefined;
  onRequest(connection: Connection, line: RequestLine): void;
}

export interface HttpEcho {
  /** Serves a connection whose first bytes have been put back into `socket`. */
  accept(kind: 'http1' | 'http2', socket: Socket, connection: Connection): void;
}

type AnyRequest = IncomingMessage | Http2ServerRequest;
type AnyResponse = ServerResponse | Http2ServerResponse;

export function createHttpEcho(deps: HttpEchoDeps): HttpEcho {
  const bySocket = new WeakMap<Socket, Connection>();
  const bySession = new WeakMap<object, Connection>();
  /** Only while `accept` runs: a session is made, and tells of itself, inside of it. */
  let entering: Connection | undefined;

  /** Undefined at once where nothing is asked for: most pods, and all probes. */
  function before(req: AnyRequest, res: AnyResponse, connection: Connection) {
    if (!deps.behave || isProbe(req)) return undefined;
    const asker = new AbortController();
    const outcome = deps.behave(connection, req.headers, asker);
    if (outcome) (res as ServerResponse).on('close', () => asker.abort(new Error('ECANCELED nobody waits')));
    return outcome;
  }

  async function answerRpc(req: Http2ServerRequest, res: Http2ServerResponse, connection: Connection) {
    const { failure, calls } = (isHealth(req.url) ? undefined : await before(req, res, connection)) ?? {};
    const echo = connection.echo('gRPC');
    const extra: Record<string, string> = {
      'x-pod': echo.pod,
      'x-node': echo.node,
      'x-peer': echo.peer.address,
    };
    // For stand-ins that call this one: messages say nothing of the tree.
    if (req.headers[BUDGET_HEADER] !== undefined) {
      const tree: Echo = {
        ...echo,
        method: 'POST',
        path: req.url,
        headers: { ...req.headers },
        ...(failure?.injected ? { injected: failure.message } : {}),
        ...(calls ? { calls } : {}),
      };
      const text = Buffer.from(JSON.stringify(tree)).toString('base64');
      if (text.length <= MAX_METADATA) extra[ECHO_METADATA] = text;
    }
    if (failure) failGrpc(req, res, extra, { code: failure.grpc, message: failure.message });
    else answerGrpc(req, res, extra);
    deps.onRequest(connection, {
      protocol: 'gRPC',
      method: 'POST',
      path: req.url,
      status: 200,
      bytes: 0,
      probe: isProbe(req),
    });
  }

  function answer(req: AnyRequest, res: AnyResponse, connection: Connection, protocol: string): void {
    const path = req.url ?? '/';
    collect(req, async (body, bytes) => {
      const { failure, calls } = (await before(req, res, connection)) ?? {};
      const status = failure?.status ?? statusOf(path);
      const echo: Echo = {
        ...connection.echo(protocol),
        method: req.method,
        path,
        headers: { ...req.headers },
        ...(body.length > 0 ? { body: body.toString('utf8') } : {}),
        ...(failure?.injected ? { injected: failure.message } : {}),
        ...(calls ? { calls } : {}),
      };
      const last = deps.draining?.(connection) ?? false;
      if (last && protocol === 'HTTP/1.1') (res as ServerResponse).setHeader('connection', 'close');
      send(res, status, `${JSON.stringify(echo)}\n`);
      // Says GOAWAY, and ends once the streams that are open have their answers.
      if (last && 'stream' in req) req.stream.session?.close();
      deps.onRequest(connection, {
        protocol,
        method: req.method ?? '',
        path,
        status,
        bytes,
        probe: isProbe(req),
      });
    });
  }

  const http1 = createServer(
    {
      keepAliveTimeout: 75_000,
      headersTimeout: 20_000,
      requestTimeout: 60_000,
      // What else a client would upgrade to is answered as if it had not asked (RFC 9110 section 7.8).
      shouldUpgradeCallback: (req) => keyOf(req) !== undefined,
    },
    (req, res) => {
      const connection = bySocket.get(req.socket);
      if (connection) answer(req, res, connection, 'HTTP/1.1');
      else req.destroy();
    },
  );
  http1.on('upgrade', (req, socket, head) => {
    const connection = bySocket.get(req.socket);
    const key = keyOf(req);
    if (!connection || key === undefined) {
      socket.destroy();
      return;
    }
    serveWebSocket(req, { socket, head, key, connection });
    const { method = '', url: path = '' } = req;
    deps.onRequest(connection, { protocol: 'WebSocket', method, path, status: 101, bytes: 0, probe: false });
  });
  http1.on('clientError', (_error, socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    else socket.destroy();
  });

  // Its limits on slow requests are watched from here on; it never listens by itself.
  http1.emit('listening');

  const http2 = createServer2({ settings: { maxConcurrentStreams: 250 } });
  http2.on('session', (session) => {
    if (entering) bySession.set(session, entering);
    session.setTimeout(300_000, () => session.close());
    const late = setTimeout(() => session.destroy(), deps.handshakeMs ?? 10_000);
    session.once('remoteSettings', () => clearTimeout(late));
    session.once('close', () => clearTimeout(late));
  });
  http2.on('sessionError', (_error, session) => session.destroy());
  http2.on('request', (req, res) => {
    const connection = req.stream.session && bySession.get(req.stream.session);
    if (!connection) return req.stream.close();
    if (!(req.headers['content-type'] ?? '').startsWith('application/grpc'))
      return answer(req, res, connection, 'HTTP/2');
    answerRpc(req, res, connection).catch(() => req.stream.close());
  });

  return {
    accept(kind, socket, connection) {
      bySocket.set(socket, connection);
      entering = connection;
      try {
        (kind === 'http1' ? http1 : http2).emit('connection', socket);
      } finally {
        entering = undefined;
      }
    },
  };
}

const isProbe = (req: AnyRequest): boolean => req.headers['user-agent']?.startsWith('kube-probe/') ?? false;

function collect(req: AnyRequest, onEnd: (body: Buffer, bytes: number) => Promise<void>): void {
  const chunks: Buffer[] = [];
  let kept = 0;
  let bytes = 0;
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (kept >= MAX_BODY) return;
    const part = chunk.subarray(0, MAX_BODY - kept);
    kept += part.length;
    chunks.push(part);
  });
  req.on('error', () => {});
  // Who has gone meanwhile is not answered.
  req.on('end', () => void onEnd(Buffer.concat(chunks), bytes).catch(() => req.destroy()));
}

/** `/status/503` lets a caller choose; everything else succeeds. */
function statusOf(path: string): number {
  const match = /^\/status\/([2-5]\d\d)(?:$|[/?])/.exec(path);
  return match ? Number(match[1]) : 200;
}

function send(res: AnyResponse, status: number, text: string): void {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  // Both have the same two methods; a union of overloads cannot be called.
  const response = res as ServerResponse;
  response.on('error', () => {});
  response.writeHead(status, headers);
  response.end(status === 204 || status === 304 ? undefined : text);
}
