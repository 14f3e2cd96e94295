/** The life of a local cluster, from lock to lock: what `heddle up` starts in the background. */
import { closeSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createCgroup, moveToCgroup } from '../kernel/cgroup.ts';
import { mountBpffs, mountTmpfs } from '../kernel/mount.ts';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { spawnIn } from '../kernel/spawn.ts';
import type { Clock } from '../lib/clock.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import type { ClusterConfig } from './config.ts';
import { forgetNodeState, makeDataDir, removeDataDir, unusable } from './data-dir.ts';
import { busy, type Lock, waitForLock } from './lock.ts';
import { sayFarewell } from './farewell.ts';
import { lastWords, openLog } from './log-file.ts';
import type { ClusterPaths } from './paths.ts';
import { listenLocal } from './ports.ts';
import {
  apiServerSpec,
  cgroupFolders,
  controllersSpec,
  forwarderSpec,
  isInstalled,
  linesSpec,
  nodeSpecs,
  type ProgramSpec,
} from './process-specs.ts';
import { createProcesses, type Processes } from './processes.ts';
import type { SupervisorEvent, SupervisorOptions } from './supervisor-protocol.ts';
import { sweepLeft } from './cri-left.ts';
import { removeCriPods } from './cri-pods.ts';
import { cgroupPath, hasRuntime, tearDown } from './teardown.ts';
import { createTopology } from './topology.ts';

/** Without a debugger by signal: it would listen, as root, at the loopback that pods on their node's network share. */
const FLAGS = ['--disable-warning=ExperimentalWarning', '--disable-sigusr1'];

export interface SuperviseDeps {
  readonly paths: ClusterPaths;
  readonly options: SupervisorOptions;
  /** Keys and kubeconfigs are in place afterwards. */
  preparePki(): Promise<void>;
  /** Resolves when the API server says that it is ready. */
  apiReady(signal: AbortSignal): Promise<void>;
  readonly childEnv: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Log;
  report(event: SupervisorEvent): void;
  /** Aborts when the cluster shall end. */
  readonly signal: AbortSignal;
}

export interface Cluster {
  readonly processes: Processes;
  readonly apiServerLog: string;
  /** Ends all processes and removes what runs; with `purge` what is kept too. */
  stop(purge: boolean): Promise<void>;
}

/** Milliseconds that the API server has to become ready. */
const API_DEADLINE = 30_000;

/** When it throws, everything it made is gone again. @throws HeddleError */
export async function bringUp(deps: SuperviseDeps): Promise<Cluster> {
  const { paths, options } = deps;
  makeDataDir(paths, options.owner !== undefined && options.owner.uid !== 0);
  const lock = await waitForLock(paths.lock, 'supervisor', 300).catch(() => {
    throw busy(paths.lock);
  });
  const fresh = !existsSync(paths.config);
  const processes = createProcesses(deps);
  const stop = (purge: boolean) => takeDown(deps, { processes, lock, purge });
  try {
    await build(deps, processes);
  } catch (error) {
    // The log goes with a fresh data directory: its last words are in the error already.
    await stop(fresh);
    throw errnoCode(error) === 'ENOSPC' ? unusable('cannot write to', paths.dataDir, error) : error;
  }
  return { processes, apiServerLog: logOf(paths, 'api-server'), stop };
}

interface Made {
  readonly processes: Processes;
  readonly lock: Lock;
  readonly purge: boolean;
}

async function takeDown(
  { paths, log, options }: SuperviseDeps,
  { processes, lock, purge }: Made,
): Promise<void> {
  processes.abandon();
  await sayFarewell(paths, log);
  await tearDown(paths);
  const left = await removeCriPods(paths, options.config.criEndpoint);
  if (left !== undefined) log.warn(left);
  // Kept, it is locked until this process ends: Node.js writes to the compile cache in it at the very end.
  if (!purge) return;
  const rest = removeDataDir(paths);
  if (rest.length > 0) log.warn('files that are not the cluster’s stay', { files: rest });
  lock.release();
}

async function build(deps: SuperviseDeps, processes: Processes): Promise<void> {
  const { paths, options, report, signal } = deps;
  const { config } = options;
  const step = (text: string) => {
    signal.throwIfAborted();
    deps.log.info(text);
    report({ type: 'step', text });
  };
  await replaceFile(paths.config, `${JSON.stringify(config, undefined, 2)}\n`, {
    mode: 0o600,
    synced: true,
  });
  if (hasRuntime(paths)) {
    step('removing what a cluster that was killed left behind');
    await tearDown(paths);
  }
  // A container runtime has pods also when the machine was started anew.
  const left = await removeCriPods(paths, config.criEndpoint);
  if (left !== undefined) deps.log.warn(left);
  for (const one of await sweepLeft()) deps.log.info('removed what a cluster had left', { ...one });
  forgetNodeState(paths);
  const apiFd = listenLocal(config.apiServer.publishedPort, '--api-port');
  const published = options.publish.map((port) => ({ ...port, fd: listenLocal(port.hostPort, '--publish') }));
  step('keys and certificates');
  await deps.preparePki();
  step(`network of ${config.nodes.length} node${config.nodes.length === 1 ? '' : 's'}`);
  makeRuntime(paths, config);
  createTopology(config, paths);
  const start = (spec: ProgramSpec) => launch(spec, deps, processes);
  const lines = linesSpec(paths, config);
  if (lines) start(lines);
  step('API server');
  start(apiServerSpec(paths, apiFd));
  await waitForApi(deps, processes);
  step('controllers and nodes');
  start(controllersSpec(paths));
  for (const spec of nodeSpecs(paths, config)) start(spec);
  const forwarder = forwarderSpec(paths, config, published);
  if (forwarder) start(forwarder);
}

function makeRuntime(paths: ClusterPaths, config: ClusterConfig): void {
  mkdirSync(paths.runDir, { recursive: true, mode: 0o700 });
  mountTmpfs(paths.runDir, { private: true, size: '64m' });
  for (const folder of ['netns', 'nodes', 'bpf']) mkdirSync(join(paths.runDir, folder), { mode: 0o700 });
  mountPins(paths, config);
  const cgroup = cgroupPath(paths);
  if (cgroup === undefined)
    throw new HeddleError('KernelFeature', 'no cgroup2 is mounted on this machine', {
      hint: 'mount it: mount -t cgroup2 none /sys/fs/cgroup; where cgroup v1 is there, at a new folder /sys/fs/cgroup/unified',
    });
  for (const folder of cgroupFolders(config)) createCgroup(join(cgroup, folder));
  moveToCgroup(join(cgroup, 'supervisor'), process.pid);
}

/** Also where it is not used (yet): a running node may move to eBPF. A kernel without it has other data paths. */
function mountPins(paths: ClusterPaths, config: ClusterConfig): void {
  try {
    mountBpffs(paths.bpf);
  } catch (error) {
    if (config.datapath === 'ebpf') throw error;
  }
}

const logOf = (paths: ClusterPaths, name: string): string => join(paths.logs, `${name}.log`);

function launch(spec: ProgramSpec, deps: SuperviseDeps, processes: Processes): void {
  if (!isInstalled(spec)) {
    deps.log.error('this build lacks a program', { process: spec.name, file: spec.file });
    return;
  }
  const { paths, childEnv } = deps;
  processes.start({
    name: spec.name,
    spawn() {
      const ns = openNetns(paths.netns(spec.netns));
      const log = openLog(logOf(paths, spec.name));
      try {
        return spawnIn({
          argv: [process.execPath, ...FLAGS, spec.file, ...spec.args],
          netns: ns,
          cgroup: join(cgroupPath(paths) ?? '', spec.cgroup),
          env: { NODE_COMPILE_CACHE: paths.compileCache, ...childEnv },
          cwd: '/',
          stdio: ['ignore', log, log, ...spec.fds],
          detached: true,
        });
      } finally {
        closeSync(log);
        closeNetns(ns);
      }
    },
  });
}

async function waitForApi(deps: SuperviseDeps, processes: Processes): Promise<void> {
  const deadline = AbortSignal.timeout(API_DEADLINE);
  const broken = new AbortController();
  const watch = setInterval(() => {
    if (processes.list().some((each) => each.state === 'quarantined'))
      broken.abort(new Error('it ends at once'));
  }, 50);
  try {
    await deps.apiReady(AbortSignal.any([deps.signal, deadline, broken.signal]));
  } catch (error) {
    deps.signal.throwIfAborted();
    throw new HeddleError('ApiServerNotReady', 'the API server did not become ready', {
      hint: lastWords(logOf(deps.paths, 'api-server')),
      cause: broken.signal.aborted ? broken.signal.reason : error,
    });
  } finally {
    clearInterval(watch);
  }
}
