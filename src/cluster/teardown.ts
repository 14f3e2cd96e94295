/**
 * Removes what a cluster has running and mounted, whatever state it is in and whoever died before: nothing here
 * relies on a process of the cluster or on its data directory. Idempotent.
 */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupPids, findCgroup2Mount, killCgroup, moveToCgroup, removeCgroup } from '../kernel/cgroup.ts';
import { findV1Groups } from '../kernel/cgroup-v1.ts';
import { isMountPoint, unmountLazy } from '../kernel/mount.ts';
import { removeEmpty } from './data-dir.ts';
import { type ClusterPaths, RUN_ROOT } from './paths.ts';

/** Absolute, or undefined where the machine has no cgroup2. */
export function cgroupPath(paths: Pick<ClusterPaths, 'cgroup'>): string | undefined {
  const mount = findCgroup2Mount();
  return mount === undefined ? undefined : join(mount, paths.cgroup);
}

/** Whether anything is there that `tearDown` would remove. */
export function hasRuntime(paths: ClusterPaths): boolean {
  const cgroup = cgroupPath(paths);
  return (
    existsSync(paths.runDir) || isMountPoint(paths.runDir) || (cgroup !== undefined && existsSync(cgroup))
  );
}

/** The caller itself may be in the cluster's cgroup: it steps out first. @throws HeddleError `Cgroup`, `Kernel` */
export async function tearDown(paths: Pick<ClusterPaths, 'cgroup' | 'runDir'>): Promise<void> {
  const cgroup = cgroupPath(paths);
  if (cgroup !== undefined) {
    stepOut(cgroup);
    killCgroup(cgroup);
    await removeCgroup(cgroup, { timeoutMs: 10_000 });
  }
  // Those of cgroup v1 hold no others than its processes.
  for (const group of findV1Groups((name) => name === paths.cgroup))
    await removeCgroup(group, { timeoutMs: 10_000 });
  unmountLazy(paths.runDir);
  rmSync(paths.runDir, { recursive: true, force: true });
  removeEmpty(RUN_ROOT);
}

function stepOut(cgroup: string): void {
  const own = [cgroup, join(cgroup, 'supervisor')].some((path) => cgroupPids(path).includes(process.pid));
  if (own) moveToCgroup(join(cgroup, '..'), process.pid);
}
