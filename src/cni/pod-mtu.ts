/** How large packets of pods that are there may be: their links, and what they send by their way out. */
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { GATEWAY_4, GATEWAY_6 } from './attach.ts';

export interface PodLink {
  /** Name of the host's end. */
  readonly interface: string;
  /** Path of the pod's network namespace. */
  readonly netns?: string | undefined;
}

export interface PodMtu {
  readonly mtu: number;
  /** Absent: as much as the link carries. */
  readonly limit?: number | undefined;
}

/**
 * What is right already is not touched. A pod that is going, or whose way out is somebody else's, is left as it is.
 * @param node opened in the node's namespace
 */
export function setPodMtu(node: Route, pod: PodLink, wanted: PodMtu): void {
  const host = node.link(pod.interface);
  if (!host || host.peer === undefined || pod.netns === undefined) return;
  try {
    inPod(pod.netns, (inner) => setInside(inner, host.peer ?? 0, wanted));
    if (host.mtu !== wanted.mtu) node.setLink(pod.interface, { mtu: wanted.mtu });
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
}

function inPod(path: string, use: (inner: Route) => void): void {
  const netns = openNetns(path);
  try {
    const inner = openRoute(netns);
    try {
      use(inner);
    } finally {
      inner.close();
    }
  } finally {
    closeNetns(netns);
  }
}

function setInside(inner: Route, index: number, { mtu, limit }: PodMtu): void {
  const link = inner.links().find((each) => each.index === index);
  if (!link) return;
  const limitTo = (most: number | undefined) => {
    for (const { dst, dev, via, mtu: now, metric } of inner.routes())
      if (dev === index && (via === GATEWAY_4 || via === GATEWAY_6) && now !== most)
        inner.replaceRoute({ dst, via, dev: link.name, onlink: true, metric, mtu: most });
  };
  // A limit is there before the link takes in more. IPv6 takes one that is the link's own for no limit, and raises it
  // with the link.
  if (limit !== undefined) limitTo(mtu > link.mtu ? Math.min(limit, link.mtu - 8) : limit);
  if (link.mtu !== mtu) inner.setLink(link.name, { mtu });
  limitTo(limit);
}

const isGone = (error: unknown): boolean =>
  errnoCode(error) === 'ENOENT' ||
  (error instanceof HeddleError && ['LinkMissing', 'NetnsMissing'].includes(error.code));
