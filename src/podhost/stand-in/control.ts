/**
 * The stand-in server's control: HTTP on the node's stand-in socket.
 *   PUT /pods      {pods}: all that are wanted; opened before it answers, and remembered → {pods: status}
 *   GET /pods      → {pods: status}
 *   POST /connect  {uid, host, port, kind, …} → ProbeResult
 *   GET /alive     never ends while the server lives
 *   POST /stop     ends the server
 */
import type { Server } from 'node:http';
import type { Log } from '../../lib/log.ts';
import { json, type Routes, readJson, sendJson, serveSocket } from '../../lib/socket-server.ts';
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
  log: Log;
}

export function serveControl(deps: ControlDeps): Promise<Server> {
  const { socketPath, engine, log } = deps;
  const routes: Routes = {
    async 'PUT /pods'(req, res) {
      const wanted = await readJson<StandInPods>(req);
      engine.apply(wanted.pods);
      await deps.remember(wanted);
      sendJson(res, 200, { pods: engine.status() });
    },
    'GET /pods': json(() => ({ pods: engine.status() })),
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
  return serveSocket({ socketPath, routes, log });
}
