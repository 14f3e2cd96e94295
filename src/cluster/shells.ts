/**
 * What clusters left on the machine whose processes are all gone: cgroups (of v1, too) without a process, a run directory without a
 * cgroup. A cluster that somebody is in, though his supervisor died, is none: its pods go on.
 */
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cgroupTreePids, findCgroup2Mount } from '../kernel/cgroup.ts';
import { findV1Groups } from '../kernel/cgroup-v1.ts';
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
  const unified = namesIn(mount).filter((name) => CGROUP.test(name));
  const cgroups = [...unified.map((name) => join(mount, name)), ...findV1Groups((name) => CGROUP.test(name))];
  const runDirs = namesIn(RUN_ROOT).filter((name) => ID.test(name));
  const ids = new Set([...runDirs, ...cgroups.flatMap((path) => CGROUP.exec(basename(path))?.[1] ?? [])]);
  return [...ids].toSorted().flatMap((id) => {
    const own = cgroups.filter((path) => basename(path) === `heddle-${id}`);
    if (own.some((path) => cgroupTreePids(path).length > 0)) return [];
    const left = runDirs.includes(id) ? [...own, join(RUN_ROOT, id)] : own;
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
