/** What pods sent and received, counted by the kernel at their own end of the link. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PodTraffic } from '../controllers/node/datapath-metrics.ts';
import { KERNEL_TRACKING } from '../controllers/node/datapath-metrics.ts';
import type { Pressure } from '../datapath/backend.ts';
import type { LocalPod } from '../datapath/plan/tables.ts';
import { type LinkStats, readLinkStats } from '../kernel/link-stats.ts';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { readSysctl } from '../kernel/sysctl.ts';
import { HeddleError } from '../lib/errors.ts';

/**
 * The pod's end, for packets that are handed over without passing the host's end are counted there alone. Where its
 * namespace cannot be entered (it is just going), the host's end with its directions turned round.
 */
export async function readPodTraffic(pods: readonly LocalPod[]): Promise<PodTraffic[]> {
  const host = new Map(readLinkStats().map((each) => [each.name, each]));
  const found: PodTraffic[] = [];
  for (const [i, pod] of pods.entries()) {
    // Each takes a visit to its namespace: packets' events and CNI calls must not wait for all of them.
    if (i % AT_ONCE === AT_ONCE - 1) await nextTurn();
    const { namespace, name, interface: link, netns } = pod;
    const own = netns === undefined ? undefined : insideOf(netns);
    const end = host.get(link);
    if (own)
      found.push({
        namespace,
        name,
        interface: own.name,
        received: own.received,
        transmitted: own.transmitted,
      });
    else if (end)
      found.push({ namespace, name, interface: link, received: end.transmitted, transmitted: end.received });
  }
  return found;
}

const AT_ONCE = 10;

function insideOf(path: string): LinkStats | undefined {
  try {
    const ns = openNetns(path);
    try {
      return readLinkStats(ns).find(({ name }) => name !== 'lo');
    } finally {
      closeNetns(ns);
    }
  } catch (error) {
    if (error instanceof HeddleError) return undefined;
    throw error;
  }
}

/** Of this process's namespace; the limit is the machine's. */
export function kernelTracking(): Pressure | undefined {
  try {
    return {
      name: KERNEL_TRACKING,
      entries: Number(readSysctl(undefined, 'net.netfilter.nf_conntrack_count')),
      max: Number(readSysctl(undefined, 'net.netfilter.nf_conntrack_max')),
    };
  } catch {
    return undefined;
  }
}
