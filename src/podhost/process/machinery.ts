/** What a process pod's containers are made with: the holder, files, environment, probes, hooks. */
import { availableParallelism, totalmem } from 'node:os';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import type { Pod, Service } from '../../api/types.ts';
import { killCgroup, removeFromHierarchies } from '../../kernel/cgroup.ts';
import {
  below,
  type CgroupSet,
  createSet,
  limitSet,
  oomKillsOf,
  removeSet,
  v1Paths,
} from '../../kernel/cgroup-set.ts';
import { run } from '../../kernel/spawn.ts';
import { createBackoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import { nodenameOf } from '../files.ts';
import { check, type CheckDeps } from '../health/check.ts';
import { type Probe, probePort } from '../ports.ts';
import { logPaths } from '../logs.ts';
import type { ContainerDeps } from './container.ts';
import { type DiskFolders, giveRoom } from './disk-use.ts';
import { ConfigError, environmentOf, type EnvironmentSources } from './environment.ts';
import type { FieldFacts } from './fields.ts';
import { runHook } from './hooks.ts';
import { joined, type Launcher, type Runner, type Target } from './launcher.ts';
import { type ObjectReaders, readObjects } from './objects.ts';
import { askedOf, containerLimits, oomScore, podLimits } from './limits.ts';
import { findPause, type Pause, startPause } from './pause.ts';
import { watchProbes } from './probes.ts';
import { lastOfLog } from './cri-log.ts';
import { serviceEnvOf } from './service-env.ts';
import { forgetState } from './state-file.ts';
import { createTokens } from './tokens.ts';
import type { Container, Say } from './types.ts';
import { memoryMounts, prepareVolumes, volumeFolder } from './volumes.ts';

export interface MachineryDeps {
  pod(): Pod;
  launcher: Launcher;
  /** In place of heddle-pause. */
  runner?: Runner | undefined;
  /** heddle-pause */
  program: string;
  /** The pod's own folder, and where its logs go. */
  folder: string;
  logs: string;
  socketPath: string;
  netns: string;
  /** The pod's cgroups. */
  cgroups: CgroupSet;
  addresses(): readonly string[];
  hostAddresses: readonly string[];
  clusterDomain: string;
  objects: ObjectReaders;
  connectTcp: CheckDeps['connectTcp'];
  /** Those of the pod's namespace, and the API server's own. */
  services(): readonly Service[];
  say: Say;
  clock: Clock;
}

export type ContainerMachinery = Omit<ContainerDeps, 'role' | 'saved' | 'before' | 'save' | 'changed'>;

export interface PodMachinery {
  /** `targetPid`: of the first process of the container that it looks into. */
  containerDeps(container: Container, targetPid?: () => number | undefined): ContainerMachinery;
  /** Makes the volumes, again and again until all that they need is there. */
  prepare(signal: AbortSignal): Promise<void>;
  /** What ConfigMaps and Secrets say later reaches the volumes; the result ends it. */
  renewVolumes(signal: AbortSignal): () => void;
  say: Say;
  imageId(container: string): string;
  /** Why limits that containers ask for are not set on this machine; undefined: they are. */
  unenforced(): string | undefined;
  stop(): void;
  stopping(): boolean;
  /**
   * The command line that runs `argv` in a container whose first process is `pid`, and its environment. With
   * `session` it is hung up on when descriptor 3 is closed, and has a terminal if it asks for one.
   */
  enter(
    container: Container,
    pid: number,
    argv: readonly string[],
    session?: { tty: boolean },
  ): Promise<{ argv: string[]; env: Record<string, string> }>;
  logFile(container: string, attempt: number): string;
  /** Where its containers write to the node's disk. */
  disk: DiskFolders;
  /** What they have written there goes, but for the logs: none of them runs any more. */
  giveRoom(): Promise<void>;
  /** All programs of its containers, at once. */
  kill(): void;
  /** Of the holder, which stays. */
  letGo(): void;
  /** What it all ran in: all but logs and the count of restarts. */
  release(): Promise<void>;
  /** The holder and all that it holds. */
  dispose(): Promise<void>;
}

const RENEW_MS = 30_000;
const RETRY_MS = 2000;
/** Bytes of a container's last word. */
const LAST_WORDS = 4096;

export function createMachinery(deps: MachineryDeps): PodMachinery {
  const { clock, say, folder, launcher, runner } = deps;
  let pause: Promise<Pause> | undefined;
  let held: Pause | undefined;
  const stopping = new AbortController();
  const tokens = createTokens(deps.objects.token, clock);
  /** What an event has told of them. */
  let toldUnenforced = '';

  const facts = (): FieldFacts => ({
    addresses: deps.addresses(),
    hostAddresses: deps.hostAddresses,
    node: { cpus: availableParallelism(), memory: totalmem() },
  });
  const groupsOf = (container: string) => below(deps.cgroups, `c-${container}`);
  const environmentFile = (name: string) => join(folder, `env-${name}`);
  const terminationFile = (name: string) => join(folder, `termination-${name}`);
  const logFile = (container: string, attempt: number) => join(deps.logs, container, `${attempt}.log`);

  const disk: DiskFolders = {
    volume: (name) => volumeFolder(folder, name),
    container: (name) => [...launcher.layers(name), join(deps.logs, name)],
  };

  function holder(signal: AbortSignal): Promise<Pause> {
    if (held && !held.lost.aborted) return Promise.resolve(held);
    pause ??= openHolder(signal).finally(() => (pause = undefined));
    return pause;
  }

  async function openHolder(signal: AbortSignal): Promise<Pause> {
    if (runner) return (held = await runner.open(signal));
    const pod = deps.pod();
    const owners = await launcher.owners();
    held =
      (await findPause(deps.socketPath)) ??
      (await startPause(
        {
          program: deps.program,
          socketPath: deps.socketPath,
          hostname: nodenameOf(pod, deps.clusterDomain),
          netns: deps.netns,
          cgroup: deps.cgroups.path,
          ownCgroup: join(deps.cgroups.path, 'holder'),
          memory: memoryMounts(pod, folder, owners),
          share: pod.spec?.shareProcessNamespace ? owners.owner : undefined,
          clock,
        },
        signal,
      ));
    return held;
  }

  async function environment(
    container: Container,
    ownBase: Readonly<Record<string, string>>,
  ): Promise<Record<string, string>> {
    const objects = await readObjects(deps.pod(), container, deps.objects);
    const pod = deps.pod();
    const services = serviceEnvOf(pod, deps.services());
    const terminal: Record<string, string> = container.tty ? { TERM: 'xterm' } : {};
    const base = {
      ...terminal,
      ...ownBase,
      HOSTNAME: nodenameOf(pod, deps.clusterDomain),
      ...services,
    };
    const sources: EnvironmentSources = { ...facts(), ...objects, base };
    return environmentOf(pod, container, sources);
  }

  async function prepareOnce(): Promise<void> {
    const objects = await readObjects(deps.pod(), undefined, deps.objects);
    const token = await tokens.current(deps.pod());
    await prepareVolumes(deps.pod(), folder, { ...facts(), ...objects, token }, await launcher.owners());
  }

  function unenforced(): string | undefined {
    if (runner) return undefined;
    const missing = askedOf(deps.pod()).flatMap((name) => {
      const place = deps.cgroups.places[name];
      return 'why' in place ? [`${name} (${place.why})`] : [];
    });
    return missing.length === 0
      ? undefined
      : `limits of ${missing.join(' and ')} are not enforced on this machine`;
  }

  /** Once for each text; the condition says it all the time. */
  function tellUnenforced(): void {
    const words = unenforced();
    if (words !== undefined && words !== toldUnenforced) say('Warning', 'LimitsNotEnforced', words);
    toldUnenforced = words ?? '';
  }

  /** Made anew: what a command left behind goes, and the count of its kills for memory begins at nothing. */
  async function makeGroups(container: Container): Promise<CgroupSet> {
    const groups = groupsOf(container.name);
    killCgroup(groups.path);
    await removeSet(groups);
    createSet(groups);
    limitSet(deps.cgroups, podLimits(deps.pod()));
    limitSet(groups, containerLimits(container), launcher.limitsItself ? 1 : undefined);
    tellUnenforced();
    return groups;
  }

  /** @throws ConfigError while it does not run */
  function targetOf(container: Container, pidOf: () => number | undefined): Target | undefined {
    const { targetContainerName: name } = container as { targetContainerName?: string };
    // Where all share their processes it is among them anyway.
    if (!name || deps.pod().spec?.shareProcessNamespace) return undefined;
    const pid = pidOf();
    if (pid === undefined) throw new ConfigError(`container ${name}, which it looks into, does not run`);
    return { pid, cgroup: launcher.processesOf(groupsOf(name).path) };
  }

  async function launch(
    to: Pause,
    { container, target }: { container: Container; target: Target | undefined },
    id: string,
    attempt: number,
  ): Promise<void> {
    const { name } = container;
    const plan = await launcher.begin(container);
    const env = await environment(container, plan.base);
    const argv = plan.argv(env);
    const log = logFile(name, attempt);
    await mkdir(join(deps.logs, name), { recursive: true, mode: 0o700 });
    // The last run and the one before it are kept, as a kubelet does.
    if (attempt >= 2) await removeLog(logFile(name, attempt - 2));
    const files = { environment: environmentFile(name), termination: terminationFile(name) };
    const groups = runner ? groupsOf(name) : await makeGroups(container);
    const score = oomScore(deps.pod(), container, totalmem());
    const command = await plan.command({ env, argv, files, groups, score, ...(target ? { target } : {}) });
    await writeFile(files.environment, environmentText(env), { mode: 0o600 });
    await makeTermination(files.termination, plan.user);
    if (attempt >= 1) to.forget(`${name}.${attempt - 1}`);
    const { stdin = false, stdinOnce: once = false, tty = false } = container;
    await to.start({ id, log, cgroup: groups.path, argv: command, input: { stdin, once, tty } });
  }

  async function enter(
    container: Container,
    pid: number,
    argv: readonly string[],
    session?: { tty: boolean },
  ) {
    const watched = session ? ['--control', ...(session.tty ? ['--tty'] : [])] : [];
    const terminal: Record<string, string> = session?.tty ? { TERM: 'xterm' } : {};
    const own = groupsOf(container.name);
    const inside = await launcher.enter(container, own.path);
    // A container runtime names its groups as it likes, below the pod's.
    const groups = runner ? below(deps.cgroups, basename(inside[0] ?? '')) : own;
    const entry = [deps.program, 'enter', String(pid), ...inside, ...watched, '--', ...argv];
    const score = oomScore(deps.pod(), container, totalmem());
    return {
      argv: joined(
        deps.program,
        { score, groups: v1Paths(groups).filter((path) => existsSync(path)) },
        entry,
      ),
      env: { ...terminal, ...parseEnvironment(await readFile(environmentFile(container.name), 'utf8')) },
    };
  }

  /** Undefined when it ended with 0. */
  async function exec(
    container: Container,
    pid: number,
    argv: readonly string[],
    limit: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<string | undefined> {
    try {
      if (runner) return await runner.exec(container, argv, limit);
      const entry = await enter(container, pid, argv);
      const { code, stdout, stderr } = await run(entry.argv, {
        ...limit,
        env: entry.env,
        maxOutput: 1 << 20,
      });
      const words = `${stdout}${stderr}`.trim().slice(0, 1024);
      return code === 0 ? undefined : `command ended with ${code}${words === '' ? '' : `: ${words}`}`;
    } catch (error) {
      return errorText(error);
    }
  }

  async function probe(container: Container, pid: number, one: Probe, port: number, timeoutMs: number) {
    if (one.exec) return exec(container, pid, one.exec.command ?? [], { timeoutMs });
    if (port === 0) return 'the port it names is not declared by the container';
    const address = deps.addresses()[0] ?? '';
    return check(one, { address, port, timeoutMs }, { connectTcp: deps.connectTcp, speaksTls: true });
  }

  const hookDeps = (container: Container, pid: number) => ({
    exec: (argv: readonly string[], signal: AbortSignal) =>
      exec(container, pid, argv, { timeoutMs: 3_600_000, signal }),
    get: (httpGet: NonNullable<Probe['httpGet']>, timeoutMs: number) =>
      probe(container, pid, { httpGet }, probePort(container, { httpGet }) ?? 0, timeoutMs),
    clock,
  });

  /** What it wrote for the purpose; if it may and has to, the end of its log. */
  async function lastWords({ name, terminationMessagePolicy }: Container, code: number, attempt: number) {
    const own = await readStart(terminationFile(name));
    if (own !== '' || code === 0 || terminationMessagePolicy !== 'FallbackToLogsOnError') return own;
    return lastOfLog(logFile(name, attempt));
  }

  async function release(): Promise<void> {
    held?.close();
    held = undefined;
    killCgroup(deps.cgroups.path);
    // The runtime takes its own groups away before what is left of them goes.
    if (runner) await launcher.remove();
    await removeSet(deps.cgroups);
    if (runner) removeFromHierarchies(relative(deps.cgroups.mount, deps.cgroups.path));
  }

  return {
    say,
    imageId: launcher.imageId,
    unenforced,
    stop: () => stopping.abort(),
    stopping: () => stopping.signal.aborted,
    enter,
    logFile,
    disk,
    giveRoom: () => giveRoom(deps.pod(), { layers: launcher.layers, volume: disk.volume }),
    async prepare(signal) {
      const backoff = createBackoff(100, RETRY_MS);
      for (let told = ''; ; ) {
        try {
          return await prepareOnce();
        } catch (error) {
          signal.throwIfAborted();
          const words = `MountVolume.SetUp failed ${errorText(error)}`;
          if (words !== told) say('Warning', 'FailedMount', words);
          told = words;
          await clock.sleep(backoff.next(), AbortSignal.any([signal, stopping.signal]));
        }
      }
    },
    renewVolumes(signal) {
      const end = new AbortController();
      const either = AbortSignal.any([signal, end.signal]);
      const renew = async () => {
        for (;;) {
          await clock.sleep(RENEW_MS, either);
          await prepareOnce().catch(() => {});
        }
      };
      renew().catch(() => {});
      return () => end.abort();
    },
    containerDeps: (container, targetPid = () => undefined) => ({
      pod: deps.pod,
      container,
      pause: holder,
      launch: async (to, id, attempt) =>
        launch(to, { container, target: targetOf(container, targetPid) }, id, attempt),
      sweep: () => killCgroup(groupsOf(container.name).path),
      lastWords: (code, attempt) => lastWords(container, code, attempt),
      stopSignal: () => launcher.stopSignal(container),
      ranOutOfMemory: () =>
        runner ? runner.ranOutOfMemory(container.name) : oomKillsOf(groupsOf(container.name)) > 0,
      async watch(attempt, signal) {
        const { postStart } = container.lifecycle ?? {};
        const wrong =
          postStart && !attempt.started
            ? await runHook(postStart, hookDeps(container, attempt.pid), 3_600_000)
            : undefined;
        signal.throwIfAborted();
        if (wrong !== undefined) {
          say('Warning', 'FailedPostStartHook', `PostStartHook failed: ${wrong}`);
          attempt.kill('FailedPostStartHook');
          return;
        }
        const probeOne = (one: Probe, port: number, timeoutMs: number) =>
          probe(container, attempt.pid, one, port, timeoutMs);
        await watchProbes({ container, attempt, check: probeOne, say, clock }, signal);
      },
      async beforeStop(pid, graceMs) {
        const { preStop } = container.lifecycle ?? {};
        if (!preStop) return;
        const wrong = await runHook(preStop, hookDeps(container, pid), graceMs);
        if (wrong !== undefined) say('Warning', 'FailedPreStopHook', `PreStopHook failed: ${wrong}`);
      },
      say,
      clock,
    }),
    kill() {
      if (runner) return runner.kill();
      const { containers = [], initContainers = [], ephemeralContainers = [] } = deps.pod().spec ?? {};
      for (const { name } of [...containers, ...initContainers, ...ephemeralContainers])
        killCgroup(groupsOf(name).path);
    },
    letGo() {
      held?.close();
      held = undefined;
    },
    release,
    async dispose() {
      await release();
      await rm(deps.socketPath, { force: true });
      await rm(deps.logs, { recursive: true, force: true });
      if (!runner) await launcher.remove();
      await forgetState(folder);
    },
  };
}

async function removeLog(path: string): Promise<void> {
  for (const one of logPaths(path)) await rm(one, { force: true });
}

/** Written by the program; nothing else of the folder is within its reach. */
async function makeTermination(path: string, user: number | undefined): Promise<void> {
  await rm(path, { force: true });
  const file = await open(path, 'wx', 0o600);
  try {
    if (user === undefined) await file.chmod(0o666);
    else await file.chown(user, 0);
  } finally {
    await file.close();
  }
}

async function readStart(path: string): Promise<string> {
  const file = await open(path).catch(() => undefined);
  if (!file) return '';
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(LAST_WORDS), 0, LAST_WORDS, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}

const environmentText = (env: Readonly<Record<string, string>>): string =>
  Object.entries(env)
    .map(([key, value]) => `${key}=${value}\0`)
    .join('');

function parseEnvironment(text: string): Record<string, string> {
  const pairs = text.split('\0').filter((one) => one !== '');
  return Object.fromEntries(
    pairs.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)]),
  );
}
