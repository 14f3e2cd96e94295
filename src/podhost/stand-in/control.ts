/**
 * The stand-in server's control: HTTP on the node's stand-in socket.
 *   PUT /pods      {pods}: all that are wanted; opened before it answers, and remembered → {pods: status}
 *   GET /pods      → {pods: status}
 *   POST /connect  {uid, host, port, kind, …} → ProbeResult
 *   GET /alive     never ends while the server lives
 *   POST /stop     ends the server
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { errorText } from '../../lib/errors.ts';
import type { ProbeResult } from '../probe/connect.ts';
import type { Engine } from './engine.ts';
import type { StandInConnect, StandInPod, StandInPods } from './types.ts';

export interface ControlDeps {
  socketPath: string;
  engine: Engine;
  /** Resolves when the list is on disk. */
  remember(pods: StandInPods): Promise<void>;
  connect(pod: StandInPod, asked: StandInConnect): Promise<ProbeResult>;
  stop(): void;
}

const MAX_BODY = 64 << 20;

export async function serveControl(deps: ControlDeps): Promise<Server> {
  const { engine } = deps;
  const routes: Record<string, (req: IncomingMessage, res: ServerResponse) => Promise<void> | void> = {
    async 'PUT /pods'(req, res) {
      const wanted = await readJson<StandInPods>(req);
      engine.apply(wanted.pods);
      await deps.remember(wanted);
      sendJson(res, 200, { pods: engine.status() });
    },
    'GET /pods': (_req, res) => sendJson(res, 200, { pods: engine.status() }),
    async 'POST /connect'(req, res) {
      const asked = await readJson<StandInConnect>(req);
      const pod = engine.get(asked.uid);
      if (!pod) return sendJson(res, 404, { error: `no stand-in has the uid ${asked.uid}` });
      sendJson(res, 200, await deps.connect(pod, asked));
    },
    'GET /alive'(_req, res) {
      res.writeHead(200, { 'x-pid': process.pid });
      res.flushHeaders();
    },
    'POST /stop'(_req, res) {
      sendJson(res, 200, {});
      deps.stop();
    },
  };
  const server = createServer({ requestTimeout: 30_000, keepAliveTimeout: 60_000 }, (req, res) => {
    const handle = routes[`${req.method} ${req.url}`];
    if (!handle) return sendJson(res, 404, { error: `there is no ${req.method} ${req.url}` });
    Promise.resolve(handle(req, res)).catch((error: unknown) => {
      if (!res.headersSent) sendJson(res, 400, { error: errorText(error) });
      else res.destroy();
    });
  });
  rmSync(deps.socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(deps.socketPath, resolve);
  });
  chmodSync(deps.socketPath, 0o600);
  return server;
}

export async function readJson<T>(req: IncomingMessage): Promise<T> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error(`the body is larger than ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as T;
}

export function sendJson(res: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  res.end(text);
}
