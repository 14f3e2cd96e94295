/** `heddle up` where the cluster is up already. */
import { busy, lockHolder } from '../cluster/lock.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
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

/** With manifests they are applied; without, there is nothing that `up` could do. @throws HeddleError */
export async function applyToRunning(
  running: SupervisorStatus,
  request: UpRequest,
  manifests: Manifests,
  deps: CliDeps,
): Promise<void> {
  if (manifests.count === 0) throw busy(request.paths.lock);
  const progress = createProgress(deps);
  progress.note(
    `the cluster is up already (pid ${running.pid}); its settings stay, the manifests are applied`,
  );
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
