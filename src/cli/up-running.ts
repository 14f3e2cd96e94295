/** `heddle up` where the cluster is up already. */
import { busy, lockHolder } from '../cluster/lock.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { setLinks } from '../cluster/lines/client.ts';
import type { ClusterFile } from '../cluster/cluster-file.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { HeddleError } from '../lib/errors.ts';
import type { SupervisorStatus } from '../cluster/supervisor-protocol.ts';
import { callSocket } from '../lib/unix-http.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { onInterrupt } from './interrupt.ts';
import { createProgress } from './progress.ts';
import type { Manifests } from './up-manifests.ts';
import { readConfig, type UpRequest } from './up-request.ts';
import { settle } from './up-settle.ts';

/** The supervisor that runs this cluster; undefined where there is none. @throws HeddleError `ClusterBusy` */
export async function runningSupervisor(paths: ClusterPaths): Promise<SupervisorStatus | undefined> {
  if (!lockHolder(paths.lock)) return undefined;
  try {
    return await callSocket<SupervisorStatus>({
      socketPath: paths.supervisorSocket,
      path: '/status',
      timeoutMs: 2000,
    });
  } catch {
    // Somebody is bringing it up or taking it down right now.
    throw busy(paths.lock);
  }
}

export interface Asked {
  readonly request: UpRequest;
  readonly manifests: Manifests;
  readonly clusterFile: ClusterFile | undefined;
}

/**
 * With manifests they are applied, and the links of a cluster file are set; without either, there is nothing that `up`
 * could do.
 * @throws HeddleError
 */
export async function applyToRunning(
  running: SupervisorStatus,
  { request, manifests, clusterFile }: Asked,
  deps: CliDeps,
): Promise<void> {
  refuseOpening(request);
  refuseOtherRoom(request);
  if (manifests.count === 0 && !clusterFile) throw busy(request.paths.lock);
  const progress = createProgress(deps);
  progress.note(
    `the cluster is up already (pid ${running.pid}); its settings stay, ${clusterFile ? 'links' : 'the manifests'} are applied`,
  );
  if (clusterFile) await relink(request);
  if (manifests.count === 0) return;
  const interrupt = onInterrupt();
  try {
    // Of its settings those count that it runs with, not what was asked for now.
    const config = readConfig(request.paths) ?? request.config;
    const asItRuns = { ...request, config, publish: running.publish };
    const failure = await settle({ request: asItRuns, manifests, progress, deps, signal: interrupt.signal });
    if (failure) throw failure;
    if (interrupt.signal.aborted) process.exitCode = exitCodes.interrupted;
  } finally {
    interrupt.dispose();
  }
}

/** Who opens the machine to pods is to know that it stays shut. @throws HeddleError `ClusterDiffers` */
function refuseOpening({ paths, config }: UpRequest): void {
  if (!config.allowHost || readConfig(paths)?.allowHost) return;
  throw new HeddleError('ClusterDiffers', '--allow-host: the cluster is up already, without it', {
    hint: `it is said at each start: heddle down --keep --data-dir ${paths.dataDir}, and up again with --allow-host`,
  });
}

/** Agents read it when they start. @throws HeddleError `ClusterDiffers` */
function refuseOtherRoom({ paths, config }: UpRequest): void {
  const running = readConfig(paths);
  const roomOf = (one: ClusterConfig) =>
    JSON.stringify([one.eviction, one.nodeResources, one.nodes.map(({ resources }) => resources)]);
  if (!running || running.nodes.length !== config.nodes.length || roomOf(running) === roomOf(config)) return;
  throw new HeddleError(
    'ClusterDiffers',
    'resources of nodes, or --eviction-hard, are not those of the running cluster',
    { hint: `heddle down --keep --data-dir ${paths.dataDir}, and up again` },
  );
}

/** @throws HeddleError `ClusterDiffers` where nodes would have to stand elsewhere */
async function relink({ paths, config }: UpRequest): Promise<void> {
  const running = readConfig(paths);
  const shape = (one: ClusterConfig | undefined) =>
    JSON.stringify([one?.topology?.groups.map(({ name, nodes }) => [name, nodes]), one?.underlayMtu]);
  if (running && shape(running) !== shape(config))
    throw new HeddleError(
      'ClusterDiffers',
      'nodes, zones, racks or MTU are not those of the running cluster',
      {
        hint: `links change while it runs; for the rest: heddle down --keep --data-dir ${paths.dataDir}, and up again`,
      },
    );
  if (config.topology) await setLinks(paths, config.topology.links);
}
