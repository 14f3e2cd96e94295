/** What ends a pod as a whole, whatever its restart policy: its time is over, or it takes more of the disk than it may. */
import type { Pod } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { type DiskFolders, hasDiskLimits, overuse } from './disk-use.ts';

/** As the pod's status has it. */
export interface PodEnd {
  reason: 'DeadlineExceeded' | 'Evicted';
  message: string;
}

export interface WholePodDeps {
  pod(): Pod;
  /** When the pod came to this node, milliseconds since 1970. */
  startTime: number;
  folders: DiskFolders;
  clock: Clock;
}

/** Milliseconds between looks: a kubelet's housekeeping; a deadline that is set later is seen within the longer one. */
const LOOK_MS = 10_000;
const SELDOM_MS = 30_000;
/** A look at many files takes its time: of all time that is one part in so many at most. */
const LOOK_SHARE = 50;

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
    const begun = deps.clock.monotonic();
    const full = await overuse(deps.pod(), deps.folders, signal);
    if (full !== undefined) return { reason: 'Evicted', message: full };
    const rest = (deps.clock.monotonic() - begun) * LOOK_SHARE;
    const pause = Math.max(rest, hasDiskLimits(deps.pod()) ? LOOK_MS : SELDOM_MS);
    await deps.clock.sleep(Math.min(left, pause), signal);
  }
}
