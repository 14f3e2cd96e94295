/**
 * UDP has no end that a client could see: sockets connected to a backend that is gone are cut, so that they connect
 * again and find another one. (Unconnected sockets get another backend with their next datagram.)
 */
import { closeNetns, type Netns } from '../../../kernel/netns.ts';
import { openSockDiag } from '../../../kernel/sock-diag.ts';
import type { ConnectedSocket } from './connected.ts';

export interface CutDeps {
  readonly connected: Iterable<ConnectedSocket>;
  readonly open: (netns: bigint) => Netns | undefined;
}

/** Returns how many sockets were cut. @throws HeddleError `Netlink` */
export function cutDatagrams({ connected, open }: CutDeps, backends: ReadonlySet<number>): number {
  const victims = new Map<bigint, Set<bigint>>();
  for (const { socket, number, netns } of connected) {
    if (!backends.has(number)) continue;
    const cookies = victims.get(netns) ?? new Set();
    victims.set(netns, cookies.add(socket));
  }
  let cut = 0;
  for (const [netns, cookies] of victims) {
    const ns = open(netns);
    if (ns) cut += cutIn(ns, cookies);
  }
  return cut;
}

function cutIn(ns: Netns, cookies: ReadonlySet<bigint>): number {
  const diag = openSockDiag(ns);
  try {
    const found = diag.connectedUdp().filter(({ cookie }) => cookies.has(cookie));
    return found.filter((socket) => diag.destroyUdp(socket)).length;
  } finally {
    diag.close();
    closeNetns(ns);
  }
}
