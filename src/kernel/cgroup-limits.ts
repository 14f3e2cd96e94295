/** Limits of a group, as either version of cgroups writes them. Paths are absolute. */
import fs from 'node:fs';
import { join, relative } from 'node:path';

export const CONTROLLERS = ['memory', 'cpu', 'pids'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupLimits {
  /** Bytes; swap is none beside it. */
  memory?: number;
  /** Processors, in parts. */
  cpu?: number;
  /** What it gets of busy processors beside others, as cgroup v1 counts it: 2 to 262,144; 1,024 is a processor. */
  shares?: number;
  /** Processes and threads. */
  pids?: number;
}

/** Microseconds that processor time is counted in. */
const PERIOD = 100_000;
const LEAST_QUOTA = 1000;

/** Which controller a limit needs. */
const NEEDS = { memory: 'memory', cpu: 'cpu', shares: 'cpu', pids: 'pids' } as const;

export const neededBy = (limits: CgroupLimits): Set<Controller> =>
  new Set(
    (Object.keys(NEEDS) as (keyof CgroupLimits)[]).flatMap((key) =>
      limits[key] === undefined ? [] : NEEDS[key],
    ),
  );

/**
 * Hands the controllers that `root` has down to `path`; those that came there. `root` itself is left as it is when
 * it hands none down: it may be the machine's. Folders between must exist and hold no process of their own.
 */
export function handDown(root: string, path: string): Controller[] {
  const steps = relative(root, path).split('/').filter(Boolean);
  let at = root;
  for (const step of steps) {
    if (at !== root) enable(at);
    at = join(at, step);
  }
  return controllersOf(at);
}

export function controllersOf(path: string): Controller[] {
  const words = read(join(path, 'cgroup.controllers')).split(/\s+/);
  return CONTROLLERS.filter((one) => words.includes(one));
}

function enable(path: string): void {
  for (const one of controllersOf(path)) {
    try {
      fs.writeFileSync(join(path, 'cgroup.subtree_control'), `+${one}`);
    } catch {
      // It does not come further down: who asks for a limit is told.
    }
  }
}

/** What of `limits` `controller` sets, in a group of cgroup2. */
export function setV2(
  path: string,
  controller: Controller,
  { memory, cpu, shares, pids }: CgroupLimits,
): void {
  const write = (file: string, value: number | string) => fs.writeFileSync(join(path, file), String(value));
  const isThere = (file: string) => fs.existsSync(join(path, file));
  if (controller === 'memory' && memory !== undefined) {
    write('memory.max', Math.ceil(memory));
    // Else a limit of memory is one of memory and as much swap.
    if (isThere('memory.swap.max')) write('memory.swap.max', 0);
    // A program that lost one of its processes is seldom of use: as a kubelet has it.
    if (isThere('memory.oom.group')) write('memory.oom.group', 1);
  }
  if (controller === 'cpu' && cpu !== undefined) write('cpu.max', `${quota(cpu)} ${PERIOD}`);
  if (controller === 'cpu' && shares !== undefined) write('cpu.weight', weightOf(shares));
  if (controller === 'pids' && pids !== undefined) write('pids.max', pids);
}

/** Likewise in a group of the controller's hierarchy of cgroup v1. */
export function setV1(
  path: string,
  controller: Controller,
  { memory, cpu, shares, pids }: CgroupLimits,
): void {
  const write = (file: string, value: number) => fs.writeFileSync(join(path, file), String(value));
  if (controller === 'memory' && memory !== undefined) {
    write('memory.limit_in_bytes', Math.ceil(memory));
    // Memory and swap together; not below the other at any time.
    if (fs.existsSync(join(path, 'memory.memsw.limit_in_bytes')))
      write('memory.memsw.limit_in_bytes', Math.ceil(memory));
  }
  if (controller === 'cpu' && cpu !== undefined) {
    write('cpu.cfs_period_us', PERIOD);
    write('cpu.cfs_quota_us', quota(cpu));
  }
  if (controller === 'cpu' && shares !== undefined) write('cpu.shares', shares);
  if (controller === 'pids' && pids !== undefined) write('pids.max', pids);
}

const quota = (cpu: number): number => Math.max(LEAST_QUOTA, Math.ceil(cpu * PERIOD));

/** As runc 1.3.2 and crun 1.23 have it: 2 is 1, a processor is 100, 262,144 is 10,000. */
export function weightOf(shares: number): number {
  const bits = Math.log2(Math.min(262_144, Math.max(2, shares)));
  return Math.min(10_000, Math.ceil(10 ** ((bits * bits + 125 * bits) / 612 - 7 / 34)));
}

/** How often the kernel killed a process of the group for want of memory; 0 where it does not count. */
export function countOomKills(path: string, version: 1 | 2): number {
  const text = read(join(path, version === 2 ? 'memory.events' : 'memory.oom_control'));
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
