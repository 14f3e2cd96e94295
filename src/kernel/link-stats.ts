/** What the kernel counts at the links of a namespace (IFLA_STATS64, struct rtnl_link_stats64). */
import { IFLA, linkHeader } from './link-codec.ts';
import { type Message, parseAttributes, textOf } from './netlink.ts';
import { NETLINK_ROUTE, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const RTM_GETLINK = 18;
const IFLA_STATS64 = 23;

export interface LinkCounts {
  readonly packets: number;
  readonly bytes: number;
  readonly errors: number;
  readonly dropped: number;
}

export interface LinkStats {
  readonly name: string;
  readonly received: LinkCounts;
  readonly transmitted: LinkCounts;
}

/** @throws HeddleError `Netlink` */
export function readLinkStats(ns?: Netns): LinkStats[] {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    return socket.dump(
      { type: RTM_GETLINK, flags: 0, parts: [linkHeader()], what: 'list the counters of links' },
      parseStats,
    );
  } finally {
    socket.close();
  }
}

/** In the order of the struct: packets, bytes, errors, dropped, each received and then transmitted. */
function parseStats({ body }: Message): LinkStats | undefined {
  const attributes = parseAttributes(body, 16);
  const stats = attributes.get(IFLA_STATS64);
  const name = textOf(attributes.get(IFLA.IFNAME));
  if (!stats || stats.length < 64 || name === undefined) return undefined;
  const at = (index: number): number => Number(stats.readBigUInt64LE(index * 8));
  const counts = (offset: 0 | 1): LinkCounts => ({
    packets: at(offset),
    bytes: at(2 + offset),
    errors: at(4 + offset),
    dropped: at(6 + offset),
  });
  return { name, received: counts(0), transmitted: counts(1) };
}
