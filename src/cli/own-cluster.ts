/** A cluster that a verb holds in the foreground: its start, once all that can be checked is, and its end. */
import { busy, lockHolder } from '../cluster/lock.ts';
import { type StartedCluster, startCluster } from '../cluster/start.ts';
import { stopCluster } from '../cluster/stop.ts';
import { hasRuntime } from '../cluster/teardown.ts';
import type { CliDeps } from './deps.ts';
import type { Interrupt } from './interrupt.ts';
import { checkRoom } from './machine-short.ts';
import type { Progress } from './progress.ts';
import { checkMachine } from './up-checks.ts';
import type { UpRequest } from './up-request.ts';

export interface Own {
  readonly request: UpRequest;
  readonly interrupt: Interrupt;
  readonly progress: Progress;
  readonly deps: CliDeps;
}

/** Resolves when the API server answers; when it throws nothing is left. @throws HeddleError */
export async function startOwn({ request, interrupt, progress, deps }: Own): Promise<StartedCluster> {
  const { paths, config, publish, keep, continues } = request;
  if (hasRuntime(paths)) {
    // Of a cluster whose supervisor was killed: its processes still hold the ports. What it stored stays.
    progress.step('removing what a cluster that was killed left behind');
    await stopCluster({ paths, keep: true, onStep: (text) => progress.detail(text) });
    progress.done();
  }
  try {
    checkMachine(request);
    await checkRoom(paths.dataDir, config.eviction);
  } catch (error) {
    // Somebody else began to bring this very cluster up meanwhile: its ports are in use because it is.
    if (lockHolder(paths.lock)) throw busy(paths.lock);
    throw error;
  }
  if (request.datapathWhy) progress.note(`data path: ${config.datapath}; ${request.datapathWhy}`);
  if (continues) progress.note(`continuing the cluster kept in ${paths.dataDir}`);
  return startCluster({
    paths,
    options: { config, publish, owner: deps.invoker, keep },
    childEnv: deps.childEnv,
    onStep: (text) => progress.step(text),
    signal: interrupt.signal,
  });
}

/** The first Ctrl-C has asked for it; a second one insists. */
export async function takeDown({ request, interrupt, progress }: Own): Promise<void> {
  const { paths, keep } = request;
  const stop = (force: boolean) => stopCluster({ paths, keep, force, onStep: (text) => progress.step(text) });
  const forced = new Promise<void>((resolve, reject) => {
    interrupt.onSecond(() => {
      progress.note('by force');
      stop(true).then(() => resolve(), reject);
    });
  });
  await Promise.race([stop(false), forced]);
  progress.done();
}
