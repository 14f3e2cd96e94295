/** What of a link may be tuned: promiscuous mode, all multicast, its queue, MTU and link address. */
import { formatMac, IFLA, linkHeader, macBytes } from './link-codec.ts';
import { attribute, parseAttributes, u32, u32Of } from './netlink.ts';
import { NETLINK_ROUTE, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const IFF_PROMISC = 0x100;
const IFF_ALLMULTI = 0x200;
const IFLA_TXQLEN = 13;

export interface LinkSettings {
  readonly promisc?: boolean | undefined;
  readonly allmulti?: boolean | undefined;
  /** Packets. */
  readonly txQLen?: number | undefined;
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
}

export interface SettledLink {
  readonly ifindex: number;
  readonly ns: Netns;
}

/** @throws HeddleError `Netlink` */
export function readLinkSettings({ ifindex, ns }: SettledLink): Required<LinkSettings> {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    const request = {
      type: RTM_GETLINK,
      flags: 0,
      what: `read the settings of the link ${ifindex}`,
      parts: [linkHeader(ifindex)],
    };
    const found = socket.get(request, ({ body }) => {
      const flags = body.readUInt32LE(8);
      const attributes = parseAttributes(body, 16);
      const mac = attributes.get(IFLA.ADDRESS);
      return {
        promisc: (flags & IFF_PROMISC) !== 0,
        allmulti: (flags & IFF_ALLMULTI) !== 0,
        txQLen: u32Of(attributes.get(IFLA_TXQLEN)) ?? 0,
        mtu: u32Of(attributes.get(IFLA.MTU)) ?? 0,
        mac: mac ? formatMac(mac) : '',
      };
    });
    return found ?? { promisc: false, allmulti: false, txQLen: 0, mtu: 0, mac: '' };
  } finally {
    socket.close();
  }
}

/** Only what is given changes. @throws HeddleError `Netlink`, `BadMac` */
export function writeLinkSettings({ ifindex, ns }: SettledLink, settings: LinkSettings): void {
  const { promisc, allmulti, txQLen, mtu, mac } = settings;
  const mask = (promisc === undefined ? 0 : IFF_PROMISC) | (allmulti === undefined ? 0 : IFF_ALLMULTI);
  const flags = (promisc ? IFF_PROMISC : 0) | (allmulti ? IFF_ALLMULTI : 0);
  const parts = [
    linkHeader(ifindex, flags, mask),
    ...(txQLen === undefined ? [] : [u32(IFLA_TXQLEN, txQLen)]),
    ...(mtu === undefined ? [] : [u32(IFLA.MTU, mtu)]),
    ...(mac === undefined ? [] : [attribute(IFLA.ADDRESS, macBytes(mac))]),
  ];
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    socket.request({ type: RTM_NEWLINK, flags: 0, what: `change the link ${ifindex}`, parts });
  } finally {
    socket.close();
  }
}
