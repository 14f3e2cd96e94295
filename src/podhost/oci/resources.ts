/** What runc sets for a container in its group of cgroup2 (runtime-spec 1.0.2, config-linux "Control groups"). Pure. */
import { weightOf } from '../../kernel/cgroup-limits.ts';
import type { CgroupSet } from '../../kernel/cgroup-set.ts';
import type { Limits } from '../process/limits.ts';

/** Microseconds. */
const PERIOD = 100_000;
const LEAST_QUOTA = 1000;

/** Only of controllers that cgroup2 hands down: runc knows of no others, and would refuse to start the container. */
export function resourcesOf(limits: Limits, { places }: Pick<CgroupSet, 'places'>): object {
  const { memory, cpu, shares, pids } = limits;
  const has = (name: keyof typeof places): boolean => {
    const place = places[name];
    return 'version' in place && place.version === 2;
  };
  const limit = Math.ceil(memory ?? 0);
  const quota = Math.max(LEAST_QUOTA, Math.ceil((cpu ?? 0) * PERIOD));
  const unified = {
    // All of the container's processes go together.
    ...(has('memory') && memory !== undefined ? { 'memory.oom.group': '1' } : {}),
    // Said so: releases of runc differ in how they reckon it from shares.
    ...(has('cpu') ? { 'cpu.weight': String(weightOf(shares)) } : {}),
  };
  return {
    unified,
    // Swap is counted with the memory here: none beside it.
    ...(has('memory') && memory !== undefined ? { memory: { limit, swap: limit } } : {}),
    ...(has('cpu') && cpu !== undefined ? { cpu: { quota, period: PERIOD } } : {}),
    ...(has('pids') && pids !== undefined ? { pids: { limit: pids } } : {}),
  };
}
