/** Limits of an attachment: a token bucket at the pod's end for what it sends, at the host's for what it is sent. */
import type { Netns } from '../kernel/netns.ts';
import { type ShapedLink, shapeLink, shapeOf } from '../kernel/shaper.ts';

/** Bits per second and bits, as the convention of CNI has them: ingress is what the container is sent. */
export interface Bandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

export interface EndsToShape {
  /** The node's namespace, and the host's end in it. */
  nodeNs: Netns;
  host: number;
  /** The pod's namespace, and its end. */
  netns: Netns;
  pod: number;
}

/** @throws HeddleError `Netlink` */
export function shapeEnds(bandwidth: Bandwidth, { nodeNs, host, netns, pod }: EndsToShape): void {
  const { ingressRate, ingressBurst, egressRate, egressBurst } = bandwidth;
  limit({ ifindex: host, ns: nodeNs }, ingressRate, ingressBurst);
  limit({ ifindex: pod, ns: netns }, egressRate, egressBurst);
}

function limit(link: ShapedLink, rate: number | undefined, burstBits: number | undefined): void {
  if (rate === undefined) return;
  shapeLink(link, shapeOf(rate, burstBits === undefined ? undefined : burstBits / 8));
}
