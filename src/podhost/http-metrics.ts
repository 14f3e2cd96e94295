/** What goes on between people and pods, counted as a kubelet does. */
import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Metrics } from '../lib/metrics.ts';
import type { Handler, UpgradeHandler } from '../lib/socket-server.ts';

/** As kubelets name them. */
export type StreamPath = 'containerLogs' | 'exec' | 'portForward';

export interface StreamCounters {
  upgrade(path: StreamPath, handler: UpgradeHandler): UpgradeHandler;
  request(path: StreamPath, handler: Handler): Handler;
}

export function countStreams(metrics: Metrics): StreamCounters {
  const total = metrics.counter(
    'kubelet_http_requests_total',
    'Requests for logs, commands and ports of pods.',
  );
  const open = metrics.gauge('kubelet_http_inflight_requests', 'Those of them that are under way.');
  const begin = (path: StreamPath, req: IncomingMessage, until: Duplex | ServerResponse) => {
    const labels = { method: req.method ?? '', path, server_type: 'readwrite', long_running: 'true' };
    total.inc(labels);
    open.add(1, labels);
    const emitter: EventEmitter = until;
    emitter.once('close', () => open.add(-1, labels));
  };
  return {
    upgrade: (path, handler) => (req, socket, head, url) => {
      begin(path, req, socket);
      return handler(req, socket, head, url);
    },
    request: (path, handler) => (req, res, url) => {
      begin(path, req, res);
      return handler(req, res, url);
    },
  };
}
