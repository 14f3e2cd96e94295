/** Which limits of pods this machine can set, tried in groups that are gone afterwards. */
import fs from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '../lib/errors.ts';
import { findCgroup2Mount } from './cgroup.ts';
import { type Controller, CONTROLLERS } from './cgroup-limits.ts';
import { openCgroupSet, v1Paths } from './cgroup-set.ts';

export interface LimitFeature {
  readonly by: 'cgroup v1' | 'cgroup2' | 'oom_score_adj' | null;
  readonly why: string | null;
}

/** `oomScore`: whether pods can be kept from being ended first when the machine is short of memory. */
export type LimitFeatures = Readonly<Record<Controller | 'oomScore', LimitFeature>>;

export function probeLimits(): LimitFeatures {
  return { ...controllers(), oomScore: oomScore() };
}

function controllers(): Record<Controller, LimitFeature> {
  const mount = findCgroup2Mount();
  const of = (each: (one: Controller) => LimitFeature) =>
    Object.fromEntries(CONTROLLERS.map((one) => [one, each(one)])) as Record<Controller, LimitFeature>;
  if (mount === undefined) return of(() => ({ by: null, why: 'no cgroup2 is mounted' }));
  const set = openCgroupSet(mount, join(mount, `heddle-probe-${process.pid}`));
  for (const path of [set.path, ...v1Paths(set)]) fs.rmdirSync(path);
  return of((one) => {
    const place = set.places[one];
    if ('why' in place) return { by: null, why: place.why };
    return { by: place.version === 1 ? 'cgroup v1' : 'cgroup2', why: null };
  });
}

/** Only who has CAP_SYS_RESOURCE may lower it; it is put back at once. */
function oomScore(): LimitFeature {
  const file = '/proc/self/oom_score_adj';
  const before = fs.readFileSync(file, 'utf8').trim();
  try {
    fs.writeFileSync(file, String(Math.max(-1000, Number(before) - 1)));
    fs.writeFileSync(file, before);
    return { by: 'oom_score_adj', why: null };
  } catch (error) {
    return { by: null, why: `CAP_SYS_RESOURCE is needed to lower a score (${errnoCode(error)})` };
  }
}
