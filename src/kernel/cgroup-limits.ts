/** Limits of a cgroup2, as far as its controllers reach it. Paths are absolute. */
import fs from 'node:fs';
import { join, relative } from 'node:path';

export const CONTROLLERS = ['memory', 'cpu'] as const;
export type Controller = (typeof CONTROLLERS)[number];

export interface CgroupLimits {
  /** Bytes. */
  memory?: number;
  /** Processors, in parts. */
  cpu?: number;
}

/** Microseconds that processor time is counted in. */
const PERIOD = 100_000;

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

function controllersOf(path: string): Controller[] {
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

/** Sets what `path` has controllers for; the others, by name. */
export function setLimits(path: string, limits: CgroupLimits): Controller[] {
  const has = controllersOf(path);
  const { memory, cpu } = limits;
  const missing = CONTROLLERS.filter((one) => limits[one] !== undefined && !has.includes(one));
  if (memory !== undefined && has.includes('memory')) {
    fs.writeFileSync(join(path, 'memory.max'), String(Math.ceil(memory)));
    // Else a limit of memory is one of memory and as much swap.
    if (fs.existsSync(join(path, 'memory.swap.max'))) fs.writeFileSync(join(path, 'memory.swap.max'), '0');
  }
  if (cpu !== undefined && has.includes('cpu'))
    fs.writeFileSync(join(path, 'cpu.max'), `${Math.max(1000, Math.ceil(cpu * PERIOD))} ${PERIOD}`);
  return missing;
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
