/** Takes a cluster down from outside: asks its supervisor first, and does without it where it is gone or stuck. */
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from '../lib/errors.ts';
import { holderLives, hostPlace } from '../tuning/places.ts';
import { endDeadLeases } from '../tuning/tune.ts';
import type { ClusterConfig } from './config.ts';
import { findLeft, leftText, sweepLeft } from './cri-left.ts';
import { removeCriPods } from './cri-pods.ts';
import { checkDataDir, removeDataDir, removeEmpty } from './data-dir.ts';
import { sayFarewell } from './farewell.ts';
import { type Holder, isHolderAlive, type Lock, lockHolder, waitForLock } from './lock.ts';
import { type ClusterPaths, RUN_ROOT } from './paths.ts';
import { hasRuntime, tearDown } from './teardown.ts';

export interface StopOptions {
  readonly paths: ClusterPaths;
  /** Leave the data directory, so that the next `up` continues. */
  readonly keep: boolean;
  /** Do not ask: kill. */
  readonly force?: boolean;
  onStep(text: string): void;
}

export interface StopResult {
  /** Whether there was anything to take down. */
  readonly found: boolean;
  /** Names in the data directory that are not ours and stay. */
  readonly left: readonly string[];
}

/** Milliseconds for a supervisor to end its cluster when asked. */
const PATIENCE = 15_000;

/** @throws HeddleError `Cgroup`, `Kernel`, `ClusterBusy` */
export async function stopCluster(options: StopOptions): Promise<StopResult> {
  const { paths, keep, onStep } = options;
  const running = hasRuntime(paths);
  const kept = existsSync(paths.config) || existsSync(paths.lock);
  if (!running && !kept) return { found: false, left: [] };
  checkDataDir(paths);
  const lock = kept ? await takeLock(options) : undefined;
  if (hasRuntime(paths)) {
    onStep('removing processes, namespaces and mounts');
    // Its supervisor was killed, or it would be gone.
    await sayFarewell(paths);
    await tearDown(paths);
    await removeCriPods(paths, criEndpoint(paths));
  } else if (!running) await removeCriPods(paths, criEndpoint(paths)); // The machine was started anew: runtimes remember.
  for (const one of await sweepLeft())
    onStep(`removed what cluster ${one.cluster} had left in ${one.endpoint}`);
  for (const one of findLeft()) if (one.cluster === paths.id) onStep(leftText(one));
  const left = keep ? [] : removeDataDir(paths);
  lock?.release();
  // Its supervisor has ended, and with it the leases on settings of the whole machine.
  await endDeadLeases(hostPlace(paths.id), { isAlive: holderLives, now: Date.now });
  removeEmpty(RUN_ROOT);
  return { found: true, left };
}

/** As it was started with; the machine's own where that cannot be read any more. */
function criEndpoint({ config }: ClusterPaths): string | undefined {
  try {
    return (JSON.parse(readFileSync(config, 'utf8')) as ClusterConfig).criEndpoint;
  } catch {
    return undefined;
  }
}

async function takeLock({ paths, force, onStep }: StopOptions): Promise<Lock | undefined> {
  const holder = lockHolder(paths.lock);
  if (holder?.what === 'supervisor') await endSupervisor(holder, force === true, onStep);
  try {
    return await waitForLock(paths.lock, 'heddle down', PATIENCE);
  } catch (error) {
    // Whoever held it has removed the whole folder.
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function endSupervisor(holder: Holder, force: boolean, onStep: (text: string) => void): Promise<void> {
  if (!force) {
    onStep(`asking the supervisor (pid ${holder.pid}) to stop`);
    signalTo(holder, 'SIGTERM');
    if (await ends(holder, PATIENCE)) return;
    onStep(`it did not stop within ${PATIENCE / 1000} s`);
  }
  onStep(`killing the supervisor (pid ${holder.pid})`);
  signalTo(holder, 'SIGKILL');
  await ends(holder, 5000);
}

/** Not only lets go of the lock: Node.js writes to the compile cache when a process exits. */
async function ends(holder: Holder, ms: number): Promise<boolean> {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (!isHolderAlive(holder)) return true;
    await sleep(20);
  }
  return false;
}

/** Never to a process that was given the number later. */
function signalTo(holder: Holder, signal: NodeJS.Signals): void {
  if (!isHolderAlive(holder)) return;
  try {
    process.kill(holder.pid, signal);
  } catch (error) {
    if (errnoCode(error) !== 'ESRCH') throw error;
  }
}
