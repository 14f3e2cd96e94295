/** The agent's end of heddle-cni: one request and one answer per connection. */
import { chmodSync, rmSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { toErrorJson } from './error.ts';
import { decodeRequest, encodeReply, frameLength } from './frame.ts';
import { parseRequest } from './request.ts';
import type { CniRequest, CniResult } from './types.ts';
import { LATEST_VERSION, resultAs, SUPPORTED_VERSIONS } from './version.ts';

/** What a plugin does; each throws CniError. All but `add` answer nothing. */
export interface CniHandlers {
  add(request: CniRequest): Promise<CniResult>;
  del(request: CniRequest): Promise<void>;
  check(request: CniRequest): Promise<void>;
  status(request: CniRequest): Promise<void>;
  gc(request: CniRequest): Promise<void>;
}

export interface CniServerOptions {
  socketPath: string;
  handlers: CniHandlers;
  log: Log;
  /** Whoever speaks HTTP on the socket is handed to it; without, refused like any other that is not heddle-cni. */
  http?: HttpServer | undefined;
  /** Told of each answer: 0, or the code of the error, and milliseconds. */
  onAnswer?: ((command: string, code: number, ms: number) => void) | undefined;
  /** Milliseconds a caller has to send its request. Default 15,000. */
  receiveTimeoutMs?: number;
}

export interface CniServer {
  close(): Promise<void>;
}

/** Listens on `socketPath` (0600), taking the place of a socket that a dead agent left. */
export async function serveCni(options: CniServerOptions): Promise<CniServer> {
  const { socketPath, handlers, log, http, onAnswer, receiveTimeoutMs = 15_000 } = options;
  const open = new Set<Socket>();

  async function answer(body: Buffer): Promise<Buffer> {
    let version = LATEST_VERSION;
    let command = 'unknown';
    const start = performance.now();
    const tell = (code: number): void => onAnswer?.(command, code, performance.now() - start);
    try {
      const request = parseRequest(decodeRequest(body));
      version = request.cniVersion;
      command = request.command;
      const text = await dispatch(handlers, request);
      tell(0);
      return encodeReply(0, text);
    } catch (error) {
      log.warn('cni request failed', { command, error: errorText(error) });
      const body = toErrorJson(error, version);
      tell(body.code);
      return encodeReply(1, `${JSON.stringify(body)}\n`);
    }
  }

  function serve(socket: Socket): void {
    open.add(socket);
    socket.setTimeout(receiveTimeoutMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
    const onBody = (body: Buffer): void => {
      socket.setTimeout(0);
      void answer(body).then((reply) => socket.end(reply));
    };
    if (http) receiveEither(socket, http, onBody);
    else receiveFrame(socket, onBody);
  }

  rmSync(socketPath, { force: true });
  const server = createServer({ allowHalfOpen: true }, serve);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  chmodSync(socketPath, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** No frame begins as `GET` does: the first byte tells who calls. */
function receiveEither(socket: Socket, http: HttpServer, onBody: (body: Buffer) => void): void {
  socket.once('data', (first: Buffer) => {
    socket.pause();
    socket.unshift(first);
    if (first[0] === 0x47) {
      socket.setTimeout(0);
      http.emit('connection', socket);
    } else receiveFrame(socket, onBody);
    socket.resume();
  });
}

function receiveFrame(socket: Socket, onBody: (body: Buffer) => void): void {
  let received: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    try {
      const size = frameLength(received);
      if (!size || received.length < size.head + size.body) return;
      socket.off('data', onData);
      onBody(received.subarray(size.head, size.head + size.body));
    } catch (error) {
      socket.off('data', onData);
      socket.end(encodeReply(1, `${JSON.stringify(toErrorJson(error, LATEST_VERSION))}\n`));
    }
  };
  socket.on('data', onData);
}

/** Standard output of the plugin. */
async function dispatch(handlers: CniHandlers, request: CniRequest): Promise<string> {
  const { command, cniVersion } = request;
  if (command === 'ADD') return `${JSON.stringify(resultAs(await handlers.add(request), cniVersion))}\n`;
  if (command === 'VERSION')
    return `${JSON.stringify({ cniVersion, supportedVersions: SUPPORTED_VERSIONS })}\n`;
  const silent = { DEL: handlers.del, CHECK: handlers.check, STATUS: handlers.status, GC: handlers.gc };
  await silent[command](request);
  return '';
}
