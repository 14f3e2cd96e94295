/** The controllers' process: `node controllers.ts <data-dir>`. Metrics on `controllers.sock` in the run directory. */
import { readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { podTakes } from '../api/pod-room.ts';
import { createClient } from '../client/client.ts';
import type { Client } from '../client/types.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { clusterControllers } from '../controllers/all.ts';
import { pkiFiles } from '../identity/pki.ts';
import { systemClock } from '../lib/clock.ts';
import { HeddleError, errorText } from '../lib/errors.ts';
import { type Cidr, firstOf, formatAddress, formatHostPort, lastOf, parseCidr } from '../lib/ip.ts';
import { type Log, createLog } from '../lib/log.ts';
import { METRICS_CONTENT_TYPE, type Metrics, createMetrics } from '../lib/metrics.ts';
import { type Task, runTasks, shutdownSignal } from '../lib/tasks.ts';
import { readEnv } from './env.ts';

/** @throws HeddleError `ControllersSetup` */
function readSetup(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new HeddleError('ControllersSetup', `the controllers cannot read ${file}`, {
      hint: 'heddle up makes it; is this the data directory of a cluster?',
      cause: error,
    });
  }
}

async function whenReady(client: Client, log: Log, signal: AbortSignal): Promise<void> {
  for (let tries = 0; !signal.aborted; tries++) {
    const why = await client.request('GET', '/readyz', { signal, timeoutMs: 5000 }).then(
      ({ status, text }) => (status === 200 ? undefined : `${status} ${text.trim()}`),
      (error: unknown) => errorText(error),
    );
    if (why === undefined) return;
    // Every 50 ms at first: at start-up the API server is a moment behind.
    if (tries % 40 === 20) log.warn('waiting for the API server', { why });
    await systemClock.sleep(tries < 40 ? 50 : 500, signal).catch(() => {});
  }
}

/** The socket only root can open; without its directory (a cluster that is not up) there are no metrics. */
function metricsTask(path: string, metrics: Metrics, log: Log): Task {
  return {
    name: 'metrics',
    run: (signal) =>
      new Promise((resolve) => {
        const server = createServer((request, response) => {
          if (request.url === '/metrics')
            response.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE }).end(metrics.text());
          else response.writeHead(request.url === '/healthz' ? 200 : 404).end();
        });
        server.on('error', (error) => log.warn('metrics are not served', { path, error: errorText(error) }));
        rmSync(path, { force: true });
        server.listen(path);
        signal.addEventListener(
          'abort',
          () => {
            server.close(() => resolve());
            server.closeAllConnections();
          },
          { once: true },
        );
      }),
  };
}

/** Without the first and, in IPv4, the last address of the range: some systems take them for broadcasts. */
function endsOf(cidr: Cidr): { start: string; stop: string } {
  const [first, last] = [firstOf(cidr), lastOf(cidr)];
  const { family } = cidr;
  const stop = family === 4 ? last.value - 1n : last.value;
  return {
    start: formatAddress({ family, value: first.value + 1n }),
    stop: formatAddress({ family, value: stop }),
  };
}

async function main(dataDir: string | undefined, log: Log, signal: AbortSignal): Promise<void> {
  const paths = clusterPaths(dataDir);
  const config = JSON.parse(readSetup(paths.config)) as ClusterConfig;
  const files = pkiFiles(paths.pki);
  const ca = readSetup(files.ca.cert);
  const { addresses, port } = config.apiServer;
  const client = createClient({
    server: `https://${formatHostPort(addresses[0] ?? '127.0.0.1', port)}`,
    dialAddresses: addresses,
    ca,
    cert: readSetup(files.controllers.cert),
    key: readSetup(files.controllers.key),
    // A whole application is applied at once; the API server is on the same machine.
    qps: 2000,
    maxConnections: 32,
    userAgent: 'heddle-controllers',
  });
  await whenReady(client, log, signal);
  if (signal.aborted) return;
  log.info('the controllers start', { server: addresses });
  const metrics = createMetrics();
  const tasks = clusterControllers({
    client,
    ca,
    log,
    metrics,
    podCidrs: config.podCidrs,
    nodeMask: config.nodeMask,
    occupied: [...config.serviceCidrs, ...config.underlayCidrs],
    balancerRanges: (config.balancerCidrs ?? []).map(parseCidr).map(endsOf),
    takes: podTakes(config),
    meantRanges: new Map(config.nodes.map((node) => [node.name, node.podCidrs])),
  });
  const socket = join(dirname(paths.supervisorSocket), 'controllers.sock');
  await runTasks([metricsTask(socket, metrics, log), ...tasks], { log, signal });
  client.close();
}

const log = createLog({ level: readEnv().logLevel, fields: { process: 'controllers' } });
try {
  await main(process.argv[2], log, shutdownSignal());
} catch (error) {
  const details = error instanceof HeddleError ? { code: error.code, hint: error.hint } : {};
  log.error(errorText(error), details);
  process.exitCode = 1;
}
