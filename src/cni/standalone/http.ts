/** What a standalone agent tells by HTTP: everything on its socket, metrics alone on an address of the loopback. */
import type { Server } from 'node:http';
import { errnoCode, HeddleError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { METRICS_CONTENT_TYPE, type Metrics } from '../../lib/metrics.ts';
import { type Handler, json, routeServer } from '../../lib/socket-server.ts';
import type { StandaloneStatus } from './status.ts';

export interface HttpDeps {
  readonly status: () => StandaloneStatus;
  readonly metrics: Metrics;
  readonly log: Log;
}

const metricsRoute =
  (metrics: Metrics): Handler =>
  (_req, res) =>
    void res.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(metrics.text());

/** For the agent's own socket, which it listens on. */
export const socketHttp = ({ status, metrics, log }: HttpDeps): Server =>
  routeServer({ 'GET /status': json(status), 'GET /metrics': metricsRoute(metrics) }, log);

/** @throws HeddleError `MetricsPort` */
export async function serveMetrics(
  at: { readonly host: string; readonly port: number },
  { metrics, log }: Pick<HttpDeps, 'metrics' | 'log'>,
): Promise<{ close(): Promise<void> }> {
  const server = routeServer({ 'GET /metrics': metricsRoute(metrics) }, log);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new HeddleError('MetricsPort', `cannot serve metrics on ${at.host}:${at.port}: ${errnoCode(cause)}`, {
          hint: 'another program may have the port: choose another one as "metrics" of the agent\'s file, or leave it away',
          cause,
        }),
      ),
    );
    server.listen(at.port, at.host, resolve);
  });
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
