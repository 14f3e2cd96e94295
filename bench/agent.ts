/** One node of a cluster with many services, whose agent is started by the benchmark, as often as it likes. */
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterConfig } from '../src/cluster/config.ts';
import { nodeSpecs } from '../src/cluster/process-specs.ts';
import { findCgroup2Mount } from '../src/kernel/cgroup.ts';
import { openNetns } from '../src/kernel/netns.ts';
import { type ChildProcess, spawnIn } from '../src/kernel/spawn.ts';
import { type BenchCluster, createServices, openCluster, openNodeMaps } from './cluster.ts';
import type { Cleanup } from './services.ts';

export interface StartedAgent {
  /** Milliseconds from its start until the kernel had every service. */
  readonly ms: number;
  /** Milliseconds of processor time until then, of the kernel for it too. */
  readonly cpuMs: number;
  /** Megabytes, proportional set size, as it is now. */
  pss(): number;
  stop(): Promise<void>;
}

export interface AgentBench {
  /** @param isCold nothing of an earlier run is in the kernel: programs are judged, maps are filled */
  start(isCold: boolean): Promise<StartedAgent>;
}

const LOOK_MS = 5;

export async function openAgent(t: Cleanup, services: number): Promise<AgentBench> {
  // A cluster goes down only if its supervisor runs; cleanup goes in the order of registration.
  let resume: () => void = () => {};
  t.after(() => resume());
  const cluster = await openCluster(t, 1);
  const [node = ''] = cluster.nodes;
  const [last = ''] = (await createServices(cluster, services)).slice(-1);
  await until(() => holds(cluster, node, services, last));
  const { dataDir } = cluster.paths;
  const [supervisor] = pidsOf('src/app/supervisor.ts', dataDir);
  if (supervisor === undefined) throw new Error('the cluster has no supervisor');
  // It would start another one.
  process.kill(supervisor, 'SIGSTOP');
  resume = () => process.kill(supervisor, 'SIGCONT');
  for (const pid of pidsOf('src/app/agent.ts', dataDir)) process.kill(pid, 'SIGKILL');
  return {
    async start(isCold) {
      if (isCold) rmSync(cluster.paths.node(node).bpf, { recursive: true, force: true });
      const began = performance.now();
      const child = spawnAgent(cluster, node);
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      await until(() => child.exitCode !== null || isReady(cluster, node, began, services, last));
      if (child.exitCode !== null) throw new Error(`the agent ended with ${child.exitCode}`);
      return {
        ms: performance.now() - began,
        cpuMs: cpuOf(child.pid ?? 0),
        pss: () => pssOf(child.pid ?? 0),
        async stop() {
          child.kill('SIGKILL');
          await ended;
        },
      };
    },
  };
}

function spawnAgent({ paths }: BenchCluster, node: string): ChildProcess {
  const config = JSON.parse(readFileSync(paths.config, 'utf8')) as ClusterConfig;
  const spec = nodeSpecs(paths, config).find(({ name }) => name === `agent-${node}`);
  if (!spec) throw new Error(`${node} has no agent`);
  const log = openSync(join(paths.logs, `agent-${node}.log`), 'a');
  try {
    return spawnIn({
      argv: [process.execPath, '--disable-warning=ExperimentalWarning', spec.file, ...spec.args],
      netns: openNetns(paths.netns(spec.netns)),
      cgroup: join(findCgroup2Mount() ?? '', paths.cgroup, spec.cgroup),
      env: { NODE_COMPILE_CACHE: paths.compileCache, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      cwd: '/',
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
}

/** Where pins are from before, the maps are full at once: then it is the agent that says when it has compared them. */
function isReady(
  cluster: BenchCluster,
  node: string,
  began: number,
  services: number,
  last: string,
): boolean {
  const since = performance.timeOrigin + began;
  const log = readFileSync(join(cluster.paths.logs, `agent-${node}.log`), 'utf8').trimEnd();
  const converged = log
    .slice(-4000)
    .split('\n')
    .some((line) => line.includes('"the data path holds what the objects say"') && timeOf(line) > since);
  return converged && holds(cluster, node, services, last);
}

const timeOf = (line: string): number => Date.parse(/"time":"([^"]+)"/.exec(line)?.[1] ?? '');

function holds(cluster: BenchCluster, node: string, services: number, last: string): boolean {
  const maps = openNodeMaps(cluster, node);
  try {
    return maps.endpointsOf(last).length > 0 && maps.frontends() >= services;
  } finally {
    maps.close();
  }
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(LOOK_MS);
}

const pidsOf = (...words: string[]): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => words.every((word) => commandOf(pid).includes(word)));

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** proc_pid_stat(5): utime and stime, in hundredths of a second. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const pssOf = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? Number.NaN) /
  1024;
