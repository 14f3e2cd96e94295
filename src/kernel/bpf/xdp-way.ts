/** How an interface runs its XDP program, as rtnetlink says it. */
import { linkHeader } from '../link-codec.ts';
import { parseAttributes } from '../netlink.ts';
import { NETLINK_ROUTE, openNetlink } from '../netlink-socket.ts';
import type { Netns } from '../netns.ts';

const RTM_GETLINK = 18;
const IFLA_XDP = 43;
const IFLA_XDP_ATTACHED = 2;
const SKB = 2;

/** `native` also where there is none. */
export function xdpWay(ifindex: number, ns?: Netns): 'native' | 'generic' {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    const request = {
      type: RTM_GETLINK,
      flags: 0,
      what: `read the interface ${ifindex}`,
      parts: [linkHeader(ifindex)],
    };
    const attached = socket.get(request, ({ body }) => {
      const xdp = parseAttributes(body, 16).get(IFLA_XDP);
      return xdp && parseAttributes(xdp).get(IFLA_XDP_ATTACHED)?.[0];
    });
    return attached === SKB ? 'generic' : 'native';
  } finally {
    socket.close();
  }
}
