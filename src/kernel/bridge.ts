/** Bridges and their ports beyond what a link is: hairpin, isolation, VLANs (linux/if_bridge.h). */
import { attribute, type Attributes, nested, parseAttributes, text, u32, u8 } from './netlink.ts';
import { linkHeader } from './link-codec.ts';
import { NETLINK_ROUTE, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
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
const IFLA_EXT_MASK = 29;
/** RTEXT_FILTER_BRVLAN_COMPRESSED: VLANs that follow each other are a range. */
const VLAN_RANGES = 4;

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

export interface PortVlan {
  readonly first: number;
  readonly last: number;
  /** Frames without a tag belong to it. */
  readonly pvid: boolean;
  /** Its frames leave without a tag. */
  readonly untagged: boolean;
}

/** Of a port; empty where it is in none. @throws HeddleError `Netlink` */
export function vlansOf({ ifindex, ns }: BridgeLink): PortVlan[] {
  const header = linkHeader();
  header[0] = AF_BRIDGE;
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    const parts = [header, u32(IFLA_EXT_MASK, VLAN_RANGES)];
    const all = socket.dump(
      { type: RTM_GETLINK, flags: 0, what: 'list VLANs of bridges', parts },
      ({ body }) => (body.readInt32LE(4) === ifindex ? parseAttributes(body, 16) : undefined),
    );
    return all.flatMap((attributes) => (attributes ? parseVlans(attributes) : []));
  } finally {
    socket.close();
  }
}

function parseVlans(attributes: Attributes): PortVlan[] {
  const found: PortVlan[] = [];
  let first: number | undefined;
  for (const { type, data } of eachOf(attributes.get(IFLA_AF_SPEC) ?? Buffer.alloc(0))) {
    if (type !== BRIDGE_VLAN_INFO) continue;
    const [flags, vlan] = [data.readUInt16LE(0), data.readUInt16LE(2)];
    if (flags & VLAN.RANGE_BEGIN) first = vlan;
    else {
      const pvid = (flags & VLAN.PVID) !== 0;
      found.push({ first: first ?? vlan, last: vlan, pvid, untagged: (flags & VLAN.UNTAGGED) !== 0 });
      first = undefined;
    }
  }
  return found;
}

/** Attributes of which one type comes many times. */
function* eachOf(data: Buffer): Generator<{ type: number; data: Buffer }> {
  for (let at = 0; at + 4 <= data.length; ) {
    const length = data.readUInt16LE(at);
    if (length < 4) return;
    yield { type: data.readUInt16LE(at + 2) & 0x3fff, data: data.subarray(at + 4, at + length) };
    at += (length + 3) & ~3;
  }
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
