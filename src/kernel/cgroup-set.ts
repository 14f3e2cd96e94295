/**
 * A group in every hierarchy that matters: cgroup2, which says whose a process is and ends it, and those of cgroup v1
 * whose controllers set limits where cgroup2 has none (the hybrid layout).
 */
import fs from 'node:fs';
import { join, relative } from 'node:path';
import { errnoCode, errorText, HeddleError } from '../lib/errors.ts';
import { createCgroup, removeCgroup } from './cgroup.ts';
import {
  type CgroupLimits,
  type Controller,
  CONTROLLERS,
  countOomKills,
  handDown,
  neededBy,
  setV1,
  setV2,
} from './cgroup-limits.ts';
import { findGroups, type Hierarchy, v1Hierarchies } from './cgroup-v1.ts';

/** Where a controller's limits of the group are set; or why nowhere. */
export type Place = { readonly version: 1 | 2; readonly path: string } | { readonly why: string };

export interface CgroupSet {
  /** Of cgroup2, and where that is mounted. */
  readonly path: string;
  readonly mount: string;
  readonly places: Readonly<Record<Controller, Place>>;
}

/** What is tried, in a group that is made for it and removed. */
const TRIAL: Readonly<Record<Controller, CgroupLimits>> = {
  memory: { memory: 1 << 30 },
  cpu: { cpu: 1, shares: 1024 },
  pids: { pids: 1024 },
};

/**
 * The groups that belong to `path` of the cgroup2 at `mount`, made where they are missing; each controller is tried,
 * cgroup2 first. Those of cgroup v1 have the same name below the group that whoever came first of `name`'s was in.
 */
export function openCgroupSet(mount: string, path: string, hierarchies = v1Hierarchies()): CgroupSet {
  createCgroup(path);
  const v2 = tryV2(mount, path);
  const places = CONTROLLERS.map((one): [Controller, Place] => [one, v2(one) ?? tryV1(one)]);
  return { path, mount, places: Object.fromEntries(places) as Record<Controller, Place> };

  function tryV1(controller: Controller): Place {
    const hierarchy = hierarchies.find(({ controllers }) => controllers.includes(controller));
    if (!hierarchy)
      return { why: `neither cgroup2 at ${mount} nor a mounted cgroup v1 hands this controller down` };
    const folder = v1Folder(hierarchy, relative(mount, path));
    const why = problemOf(join(folder, 'trial'), (trial) => setV1(trial, controller, TRIAL[controller]));
    return why === undefined
      ? { version: 1, path: folder }
      : { why: `cgroup v1 at ${hierarchy.mount}: ${why}` };
  }
}

function tryV2(mount: string, path: string): (controller: Controller) => Place | undefined {
  const works = new Set<Controller>();
  problemOf(join(path, 'trial'), (trial) => {
    for (const one of handDown(mount, trial)) {
      setV2(trial, one, TRIAL[one]);
      works.add(one);
    }
  });
  return (controller) => (works.has(controller) ? { version: 2, path } : undefined);
}

/** Of the cluster, where it has a group already: somebody in another group may have brought it up. */
function v1Folder({ mount, own }: Hierarchy, name: string): string {
  const [top = '', ...rest] = name.split('/');
  const known = fs.existsSync(join(own, top)) ? join(own, top) : findGroups(mount, (one) => one === top)[0];
  return join(known ?? join(own, top), ...rest);
}

function problemOf(trial: string, attempt: (trial: string) => void): string | undefined {
  try {
    makeGroup(trial);
    attempt(trial);
    return undefined;
  } catch (error) {
    const code = errnoCode(error) ?? errnoCode((error as Error).cause);
    return code === 'EROFS' ? 'it is mounted read-only' : (code ?? errorText(error));
  } finally {
    removeIfThere(trial);
  }
}

/** Kernels before 5.11 may have a group's memory counted apart from that of the groups below, unless told. */
function makeGroup(path: string): void {
  fs.mkdirSync(path, { recursive: true });
  const file = join(path, '..', 'memory.use_hierarchy');
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8').trim() === '0') fs.writeFileSync(file, '1');
}

function removeIfThere(path: string): void {
  try {
    fs.rmdirSync(path);
  } catch {
    // It was not made, or another agent's trial of the same node goes on there.
  }
}

export function below(set: CgroupSet, ...names: string[]): CgroupSet {
  const places = CONTROLLERS.map((one): [Controller, Place] => {
    const place = set.places[one];
    return [one, 'why' in place ? place : { ...place, path: join(place.path, ...names) }];
  });
  return {
    ...set,
    path: join(set.path, ...names),
    places: Object.fromEntries(places) as Record<Controller, Place>,
  };
}

/** Groups of cgroup v1 alone, each once: a hierarchy may have several controllers. */
export const v1Paths = (set: CgroupSet): string[] => [
  ...new Set(
    CONTROLLERS.flatMap((one) => {
      const place = set.places[one];
      return 'why' in place || place.version === 2 ? [] : [place.path];
    }),
  ),
];

export function createSet(set: CgroupSet): void {
  for (const path of [set.path, ...v1Paths(set)]) createCgroup(path);
}

/** Once the processes have ended, for which it waits; what is gone is no error. @throws HeddleError `Cgroup` */
export async function removeSet(set: CgroupSet, options: { timeoutMs?: number } = {}): Promise<void> {
  for (const path of [set.path, ...v1Paths(set)]) await removeCgroup(path, options);
}

/** Controllers that `limits` need and nothing hands down. */
export const missingOf = (set: CgroupSet, limits: CgroupLimits): Controller[] =>
  [...neededBy(limits)].filter((one) => 'why' in set.places[one]);

/**
 * Sets what there are controllers for; of `only` one version, if that is said.
 * @throws HeddleError `Cgroup` when one that worked before does not
 */
export function limitSet(set: CgroupSet, limits: CgroupLimits, only?: 1 | 2): void {
  // Also for a launcher that sets those of cgroup2 itself, further down.
  handDown(set.mount, set.path);
  for (const controller of neededBy(limits)) {
    const place = set.places[controller];
    if ('why' in place || (only !== undefined && place.version !== only)) continue;
    try {
      if (place.version === 1) setV1(place.path, controller, limits);
      else setV2(place.path, controller, limits);
    } catch (cause) {
      const what = `set the ${controller} limits of the cgroup ${place.path} (${JSON.stringify(limits)})`;
      throw new HeddleError('Cgroup', `cannot ${what}: ${errnoCode(cause) ?? errorText(cause)}`, { cause });
    }
  }
}

/** How often the kernel killed a process of it for want of memory; 0 where it does not count. */
export function oomKillsOf({ places: { memory } }: CgroupSet): number {
  return 'why' in memory ? 0 : countOomKills(memory.path, memory.version);
}
