/** Bridges and their ports beyond what a link is: hairpin, isolation, VLANs (linux/if_bridge.h). */
import { attribute, nested, text, u8 } from './netlink.ts';
import { linkHeader } from './link-codec.ts';
import { NETLINK_ROUTE, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const RTM_NEWLINK = 16;
const RTM_SETLINK = 19;
const AF_BRIDGE = 7;
const IFLA_LINKINFO = 18;
const IFLA_AF_SPEC = 26;
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const PORT = { HAIRPIN: 4, ISOLATED: 33 } as const;
const BRIDGE_VLAN_FILTERING = 7;
const BRIDGE_VLAN_INFO = 2;
const VLAN = { PVID: 2, UNTAGGED: 4, RANGE_BEGIN: 8, RANGE_END: 16 } as const;
const RTM_DELLINK = 17;

export interface BridgeLink {
  readonly ifindex: number;
  readonly ns: Netns;
}

export interface PortOptions {
  /** What came in by the port may leave by it. */
  readonly hairpin?: boolean;
  /** Speaks with ports that are not isolated only. */
  readonly isolated?: boolean;
}

/** @throws HeddleError `Netlink` */
export function setBridgePort(port: BridgeLink, { hairpin, isolated }: PortOptions): void {
  const data = [
    ...(hairpin === undefined ? [] : [u8(PORT.HAIRPIN, hairpin ? 1 : 0)]),
    ...(isolated === undefined ? [] : [u8(PORT.ISOLATED, isolated ? 1 : 0)]),
  ];
  const info = nested(IFLA_LINKINFO, [text(INFO.SLAVE_KIND, 'bridge'), nested(INFO.SLAVE_DATA, data)]);
  request(port, RTM_NEWLINK, `change the bridge port ${port.ifindex}`, [linkHeader(port.ifindex), info]);
}

/** @throws HeddleError `Netlink`, also where the kernel has no CONFIG_BRIDGE_VLAN_FILTERING */
export function filterVlans(bridge: BridgeLink): void {
  const data = nested(INFO.DATA, [u8(BRIDGE_VLAN_FILTERING, 1)]);
  const info = nested(IFLA_LINKINFO, [text(INFO.KIND, 'bridge'), data]);
  request(bridge, RTM_NEWLINK, `filter VLANs on the bridge ${bridge.ifindex}`, [
    linkHeader(bridge.ifindex),
    info,
  ]);
}

/** Frames without a tag belong to `vlan`, and its frames leave without one. */
export const joinVlan = (port: BridgeLink, vlan: number): void =>
  vlans(port, RTM_SETLINK, [[VLAN.PVID | VLAN.UNTAGGED, vlan]]);

/** Frames of these leave with their tag. */
export const joinTagged = (port: BridgeLink, first: number, last: number): void =>
  vlans(
    port,
    RTM_SETLINK,
    first === last
      ? [[0, first]]
      : [
          [VLAN.RANGE_BEGIN, first],
          [VLAN.RANGE_END, last],
        ],
  );

export const leaveVlan = (port: BridgeLink, vlan: number): void => vlans(port, RTM_DELLINK, [[0, vlan]]);

function vlans(port: BridgeLink, type: number, entries: readonly (readonly [number, number])[]): void {
  const header = linkHeader(port.ifindex);
  header[0] = AF_BRIDGE;
  const infos = entries.map(([flags, vlan]) => {
    const info = Buffer.alloc(4);
    info.writeUInt16LE(flags, 0);
    info.writeUInt16LE(vlan, 2);
    return attribute(BRIDGE_VLAN_INFO, info);
  });
  const what = `change the VLANs of the bridge port ${port.ifindex}`;
  request(port, type, what, [header, nested(IFLA_AF_SPEC, infos)]);
}

function request({ ns }: BridgeLink, type: number, what: string, parts: readonly Buffer[]): void {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    socket.request({ type, flags: 0, what, parts });
  } finally {
    socket.close();
  }
}
