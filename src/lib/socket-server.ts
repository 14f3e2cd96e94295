/** HTTP on a Unix socket for the other processes of this machine: JSON routes, and routes that answer as they like. */
import { chmodSync, rmSync } from 'node:fs';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { HeddleError, errorText } from './errors.ts';
import type { Log } from './log.ts';

export type Handler = (req: IncomingMessage, res: ServerResponse, url: URL) => void | Promise<void>;
export type UpgradeHandler = (req: IncomingMessage, socket: Duplex, head: Buffer, url: URL) => void;

/** Called where path and method match; a path that ends in `/` stands for all below it. */
export interface Routes {
  /** `GET /status` */
  readonly [methodAndPath: string]: Handler;
}

export interface SocketServerOptions {
  socketPath: string;
  routes: Routes;
  upgrades?: Readonly<Record<string, UpgradeHandler>>;
  log: Log;
}

const MAX_BODY = 64 << 20;

/** A route that answers what `fn` returns as JSON. */
export const json =
  (fn: (url: URL) => unknown): Handler =>
  async (_req, res, url) =>
    sendJson(res, 200, await fn(url));

export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}

/** The body of a request. @throws HeddleError `BadRequest` when it is larger than 64 MiB or no JSON. */
export async function readJson<T>(req: IncomingMessage): Promise<T> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new HeddleError('BadRequest', `the body is larger than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as T;
  } catch (error) {
    throw new HeddleError('BadRequest', `the body of ${req.method} ${req.url} is not JSON`, { cause: error });
  }
}

function find<T>(table: Readonly<Record<string, T>>, method: string, path: string): T | undefined {
  const exact = table[`${method} ${path}`];
  if (exact) return exact;
  const entry = Object.entries(table).find(
    ([key]) => key.endsWith('/') && `${method} ${path}`.startsWith(key),
  );
  return entry?.[1];
}

function fail(res: ServerResponse, status: number, message: string): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  sendJson(res, status, { error: message });
}

const urlOf = (req: IncomingMessage): URL => new URL(req.url ?? '/', 'http://socket');

/** An HTTP server that listens nowhere yet. */
export function routeServer(routes: Routes, log: Log): Server {
  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = urlOf(req);
    const handler = find(routes, req.method ?? 'GET', url.pathname);
    if (!handler) return fail(res, 404, `${req.method} ${url.pathname} is not served here`);
    try {
      await handler(req, res, url);
    } catch (error) {
      const expected = error instanceof HeddleError;
      if (!expected) log.error('a request failed', { path: url.pathname, error: errorText(error) });
      fail(res, expected ? 400 : 500, errorText(error));
    }
  }

  return createServer((req, res) => void serve(req, res));
}

/** Takes the place of a socket that a dead process left; readable by its owner only. */
export function serveSocket(options: SocketServerOptions): Promise<Server> {
  const { socketPath, routes, upgrades = {}, log } = options;
  const server = routeServer(routes, log);
  server.on('upgrade', (req, socket, head) => {
    const url = urlOf(req);
    const handler = find(upgrades, req.method ?? 'GET', url.pathname);
    socket.on('error', () => socket.destroy());
    if (handler) handler(req, socket, head, url);
    else socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
  });
  rmSync(socketPath, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      resolve(server);
    });
  });
}
