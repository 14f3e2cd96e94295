/** What ends a pod as a whole, whatever its restart policy: its time is over, or it fills a volume beyond its limit. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { quantityValue } from '../../api/quantity.ts';
import type { Pod } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';

/** As the pod's status has it. */
export interface PodEnd {
  reason: 'DeadlineExceeded' | 'Evicted';
  message: string;
}

export interface WholePodDeps {
  pod(): Pod;
  /** When the pod came to this node, milliseconds since 1970. */
  startTime: number;
  volumeFolder(name: string): string;
  clock: Clock;
}

/** Milliseconds between looks: a kubelet's housekeeping; a deadline that is set later is seen within the longer one. */
const LOOK_MS = 10_000;
const SELDOM_MS = 30_000;
/** Bytes that stat counts blocks in. */
const BLOCK = 512;

/** What an earlier agent decided. */
export function endOf({ status }: Pod): PodEnd | undefined {
  const { phase, reason, message = '' } = status ?? {};
  return phase === 'Failed' && (reason === 'DeadlineExceeded' || reason === 'Evicted')
    ? { reason, message }
    : undefined;
}

/** Resolves when the pod has to end; rejects when `signal` aborts. */
export async function untilEnd(deps: WholePodDeps, signal: AbortSignal): Promise<PodEnd> {
  for (;;) {
    const { spec } = deps.pod();
    const { activeDeadlineSeconds } = spec ?? {};
    const left =
      activeDeadlineSeconds === undefined
        ? Number.POSITIVE_INFINITY
        : deps.startTime + activeDeadlineSeconds * 1000 - deps.clock.now();
    if (left <= 0)
      return {
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
      };
    const full = await overfull(deps, signal);
    if (full !== undefined) return { reason: 'Evicted', message: full };
    await deps.clock.sleep(Math.min(left, limited(deps.pod()).length > 0 ? LOOK_MS : SELDOM_MS), signal);
  }
}

/** Those in memory hold no more than their limit. */
const limited = ({ spec }: Pod): { name: string; asked: string; limit: number }[] =>
  (spec?.volumes ?? []).flatMap(({ name, emptyDir }) => {
    const asked = emptyDir?.sizeLimit;
    if (asked === undefined || emptyDir?.medium === 'Memory') return [];
    const limit = quantityValue(String(asked)) ?? 0;
    return limit > 0 ? [{ name, asked: String(asked), limit }] : [];
  });

async function overfull(deps: WholePodDeps, signal: AbortSignal): Promise<string | undefined> {
  for (const { name, asked, limit } of limited(deps.pod()))
    if (await isAbove(deps.volumeFolder(name), limit, signal))
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${asked}". `;
  return undefined;
}

/** By the blocks that its files take; no further than it needs to know, and never through a link. */
export async function isAbove(folder: string, bytes: number, signal: AbortSignal): Promise<boolean> {
  let used = 0;
  const folders = [folder];
  // What goes while it is looked at takes no room any more.
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    signal.throwIfAborted();
    for (const entry of await readdir(at, { withFileTypes: true }).catch(() => [])) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) folders.push(path);
      used += ((await lstat(path).catch(() => undefined))?.blocks ?? 0) * BLOCK;
      if (used > bytes) return true;
    }
  }
  return false;
}
