/**
 * What clusters left on the machine whose processes are all gone: a cgroup without a process, a run directory without a
 * cgroup. A cluster that somebody is in, though his supervisor died, is none: its pods go on.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupTreePids, findCgroup2Mount } from '../kernel/cgroup.ts';
import { type ClusterPaths, RUN_ROOT } from './paths.ts';
import { tearDown } from './teardown.ts';

export interface Shell {
  /** Of the cluster. */
  readonly id: string;
  /** Paths that are left. */
  readonly left: readonly string[];
}

/** Other programs of ours that keep something in the run directory are no clusters. */
const ID = /^[0-9a-f]{8}$/;
const CGROUP = /^heddle-([0-9a-f]{8})$/;

/** Milliseconds in which a cluster on its way up has put a process where it will run. */
const SETTLED = 120_000;

/** Of those that have been so for a while: `olderThan` is a time in milliseconds since 1970. */
export function findShells(olderThan: number = Date.now() - SETTLED): Shell[] {
  const mount = findCgroup2Mount();
  // Who is in a cluster is not to be known without.
  if (mount === undefined) return [];
  const cgroups = namesIn(mount).flatMap((name) => CGROUP.exec(name)?.[1] ?? []);
  const ids = new Set([...namesIn(RUN_ROOT).filter((name) => ID.test(name)), ...cgroups]);
  return [...ids].toSorted().flatMap((id) => {
    const cgroup = cgroups.includes(id) ? join(mount, `heddle-${id}`) : undefined;
    if (cgroup !== undefined && cgroupTreePids(cgroup).length > 0) return [];
    const runDir = namesIn(RUN_ROOT).includes(id) ? join(RUN_ROOT, id) : undefined;
    const left = [cgroup, runDir].filter((path) => path !== undefined);
    return left.every((path) => changedAt(path) <= olderThan) ? [{ id, left }] : [];
  });
}

/** @throws HeddleError `Cgroup`, `Kernel` */
export const removeShell = ({ id }: Shell): Promise<void> => tearDown(runtimeOf(id));

/** Where a cluster runs follows from its id alone. */
const runtimeOf = (id: string): Pick<ClusterPaths, 'cgroup' | 'runDir'> => ({
  cgroup: `heddle-${id}`,
  runDir: join(RUN_ROOT, id),
});

/** Gone meanwhile: never. */
const changedAt = (path: string): number => statSync(path, { throwIfNoEntry: false })?.ctimeMs ?? Infinity;

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
