/**
 * Supervises one local cluster: `node supervisor.ts DATA-DIR`, started by `heddle up`, which see
 * (cluster/supervisor-protocol.ts). SIGTERM ends the cluster and keeps its data.
 */
import { readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import { rotateLog } from '../cluster/log-file.ts';
import { type ClusterPaths, clusterPaths } from '../cluster/paths.ts';
import { type Cluster, bringUp } from '../cluster/supervise.ts';
import {
  DETACH,
  REPORT_FD,
  type SupervisorEvent,
  type SupervisorOptions,
  type SupervisorStatus,
} from '../cluster/supervisor-protocol.ts';
import { cgroupPath } from '../cluster/teardown.ts';
import { ensurePki, serverNames } from '../identity/ensure-pki.ts';
import { cgroupTreePids } from '../kernel/cgroup.ts';
import { pss } from '../kernel/process.ts';
import { systemClock } from '../lib/clock.ts';
import { HeddleError, errorText } from '../lib/errors.ts';
import { firstOf, formatAddress, nth, parseCidr } from '../lib/ip.ts';
import { createLog } from '../lib/log.ts';
import { aborted } from '../lib/signals.ts';
import { json, serveSocket } from '../lib/socket-server.ts';
import { childEnv, readEnv } from './env.ts';

// Of everything that the cluster's processes write; who shall read more is said where it is written.
process.umask(0o077);
const env = readEnv();
const log = createLog({ level: env.logLevel, fields: { process: 'supervisor' } });
const paths = clusterPaths(process.argv[2]);
const startedAt = new Date();

/** Why the cluster ends decides what is kept. */
type Ending = { readonly purge: boolean; readonly why: string };

function report(event: SupervisorEvent): void {
  try {
    writeSync(REPORT_FD, `${JSON.stringify(event)}\n`);
  } catch (error) {
    log.debug('nobody listens to reports', { error: errorText(error) });
  }
}

/** The options, and what ends the cluster: a signal, or the end of whoever holds it in the foreground. */
function control(): { options: Promise<SupervisorOptions>; stop: AbortController } {
  const stop = new AbortController();
  const end = (ending: Ending) => stop.abort(ending);
  const lines = createInterface({ input: process.stdin });
  const { promise, resolve, reject } = Promise.withResolvers<SupervisorOptions>();
  let options: SupervisorOptions | undefined;
  let detached = false;
  lines.on('line', (line) => {
    if (line === DETACH) detached = true;
    else if (!options) resolve((options = JSON.parse(line) as SupervisorOptions));
  });
  lines.on('close', () => {
    if (!options) reject(new Error('no options came on stdin'));
    else if (!detached) end({ purge: !options.keep, why: 'whoever held it in the foreground is gone' });
  });
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(name, () => end({ purge: false, why: `received ${name}` }));
  return { options: promise, stop };
}

async function apiReady(at: ClusterPaths, signal: AbortSignal): Promise<void> {
  const { client: settings } = await loadKubeconfig(at.kubeconfig);
  const client = createClient(settings);
  try {
    for (;;) {
      signal.throwIfAborted();
      const answer = await client
        .request('GET', '/readyz', { timeoutMs: 2000, signal })
        .catch(() => undefined);
      if (answer?.status === 200) return;
      await systemClock.sleep(30, signal);
    }
  } finally {
    client.close();
  }
}

const preparePki = (options: SupervisorOptions): Promise<void> => {
  const { config, owner } = options;
  const firstServices = config.serviceCidrs.map((text) => {
    const cidr = parseCidr(text);
    return formatAddress(nth(cidr, 1n) ?? firstOf(cidr));
  });
  return ensurePki({
    dir: paths.pki,
    clusterId: config.id,
    nodes: config.nodes.map(({ name }) => name),
    apiServer: config.apiServer,
    serverNames: serverNames(config.clusterDomain, firstServices),
    people: { path: paths.kubeconfig, port: config.apiServer.publishedPort, owner },
    now: Date.now,
  });
};

function memoryOf(at: ClusterPaths): SupervisorStatus['memory'] {
  const pids = cgroupTreePids(cgroupPath(at) ?? '');
  return { processes: pids.length, pss: pids.reduce((sum, pid) => sum + (pss(pid) ?? 0), 0) };
}

function statusOf(
  cluster: Cluster,
  options: SupervisorOptions,
  phase: SupervisorStatus['phase'],
): SupervisorStatus {
  return {
    id: paths.id,
    dataDir: paths.dataDir,
    pid: process.pid,
    startedAt: startedAt.toISOString(),
    phase,
    memory: memoryOf(paths),
    processes: cluster.processes.list().map((each) => ({
      ...each,
      pss: each.pid === undefined ? undefined : pss(each.pid),
      log: `${paths.logs}/${each.name}.log`,
    })),
    publish: options.publish,
  };
}

async function main(): Promise<void> {
  const { options: coming, stop } = control();
  const options = await coming;
  const cluster = await bringUp({
    paths,
    options,
    preparePki: () => preparePki(options),
    apiReady: (signal) => apiReady(paths, signal),
    childEnv: childEnv(env),
    clock: systemClock,
    log,
    report,
    signal: stop.signal,
  });
  let phase: SupervisorStatus['phase'] = 'running';
  const server = await serveSocket({
    socketPath: paths.supervisorSocket,
    routes: { 'GET /status': json(() => statusOf(cluster, options, phase)) },
    log,
  });
  report({ type: 'started' });
  const rotation = setInterval(() => {
    for (const name of readdirSync(paths.logs)) if (name.endsWith('.log')) rotateLog(join(paths.logs, name));
  }, 10_000);
  await aborted(stop.signal);
  const { purge, why } = stop.signal.reason as Ending;
  log.info('going down', { why, purge });
  phase = 'stopping';
  clearInterval(rotation);
  server.close();
  await cluster.stop(purge);
}

function describe(error: unknown): { code: string; message: string; hint?: string } {
  if (error instanceof HeddleError) return error;
  if (isEnding(error)) return new HeddleError('Interrupted', `the start was given up: ${error.why}`);
  return {
    code: 'Internal',
    message: errorText(error),
    hint: error instanceof Error ? error.stack : undefined,
  };
}

const isEnding = (value: unknown): value is Ending =>
  typeof value === 'object' && value !== null && 'why' in value;

try {
  await main();
  process.exit(0);
} catch (error) {
  const { code, message, hint } = describe(error);
  log.error('the cluster did not come up', { code, error: errorText(error) });
  report({ type: 'error', code, message, hint });
  process.exit(1);
}
