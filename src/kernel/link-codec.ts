/** RTM_*LINK: what goes in and comes out (linux/if_link.h). */
import { fromBytes, formatAddress, parseAddress, toBytes } from '../lib/ip.ts';
import { HeddleError } from '../lib/errors.ts';
import {
  attribute,
  type Message,
  nested,
  nestedPlain,
  parseAttributes,
  text,
  textOf,
  u16,
  u16be,
  u32,
  u32Of,
  u8,
} from './netlink.ts';
import type { Netns } from './netns.ts';

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  OPERSTATE: 16,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  NET_NS_FD: 28,
  LINK_NETNSID: 37,
} as const;
const INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const BRPORT_HAIRPIN = 4;
const BRPORT_ISOLATED = 33;
const VETH_INFO_PEER = 1;
const MACVLAN_MODE = 1;
const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const IPVLAN_MODE = 1;
const BRIDGE_VLAN_FILTERING = 7;
const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const;
const VXLAN = {
  ID: 1,
  LOCAL: 4,
  TTL: 5,
  LEARNING: 7,
  PORT: 15,
  LOCAL6: 17,
  UDP_CSUM: 18,
  ZERO_CSUM6_TX: 19,
  ZERO_CSUM6_RX: 20,
} as const;
/** linux/if_link.h */
const GENEVE = { PORT: 5, COLLECT_METADATA: 6, UDP_ZERO_CSUM6_TX: 9, UDP_ZERO_CSUM6_RX: 10 } as const;
/** linux/if_tunnel.h */
const GRE_COLLECT_METADATA = 18;
const AF_INET6 = 10;
const INET6_ADDR_GEN_MODE = 8;

export const IFF_UP = 1;
const IFF_LOWER_UP = 0x10000;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `veth`, `bridge`, `vxlan`, `geneve`, `gre`; undefined for lo and hardware. */
  readonly kind: string | undefined;
  /** Set up by the administrator. */
  readonly up: boolean;
  /** Up, and the other end or the wire is there. */
  readonly running: boolean;
  readonly mtu: number;
  /** `02:00:00:00:00:01`; empty where the link has none. */
  readonly mac: string;
  /** Index of the bridge it is a port of. */
  readonly master: number | undefined;
  readonly alias: string | undefined;
  /** Of a veth: the other end's index, in its own namespace. */
  readonly peer: number | undefined;
  /** Of a link whose other end, or master, is in another namespace: its id here. */
  readonly peerNamespace?: number;
  readonly vxlan: { vni: number; port: number; local: string | undefined } | undefined;
  /** Of a tunnel to which each route says the other end. */
  readonly tunnel: { readonly byRoute: boolean; readonly port: number | undefined } | undefined;
  /** Of macvlan and ipvlan. */
  readonly mode?: string | undefined;
  /** Of a bridge's port. */
  readonly port?: { readonly hairpin: boolean; readonly isolated: boolean } | undefined;
  /** Of a bridge: it tells VLANs apart. */
  readonly filtersVlans?: boolean | undefined;
}

/** A tunnel link to which each route says where its packets go, and which hears all who send to it. */
export interface RouteTunnelOptions {
  name: string;
  kind: RouteTunnelKind;
  /** Of GENEVE. */
  port?: number;
  /** Of GENEVE, whose packets are frames. */
  mac?: string;
  mtu?: number;
  alias?: string;
}

/** `ip6gre`: the tunnel's own addresses are IPv6. */
export type RouteTunnelKind = 'geneve' | 'gre' | 'ip6gre';

export interface VethOptions {
  name: string;
  /** The owner mark. */
  alias?: string;
  mtu?: number;
  mac?: string;
  /** The other end; in the namespace `netns`, or in the same one. */
  peer: { name: string; netns?: Netns; mtu?: number; mac?: string };
}

export interface BridgeOptions {
  name: string;
  alias?: string;
  mtu?: number;
  mac?: string;
}

export type MacvlanMode = keyof typeof macvlanModes;
export type IpvlanMode = keyof typeof ipvlanModes;

/** A link that shares another one's wire. It is made where its user is, and named there. */
export interface SlaveOptions<Mode> {
  name: string;
  /** Name of the link it is on, in the namespace of the socket. */
  master: string;
  mode: Mode;
  mtu?: number;
  mac?: string;
  /** Where it goes; the namespace of the socket without. */
  netns?: Netns;
}

export interface VxlanOptions {
  name: string;
  vni: number;
  port: number;
  /** The underlay address packets are sent from; its family is the tunnel's. */
  local: string;
  mac?: string;
  mtu?: number;
  alias?: string;
}

export interface LinkChange {
  up?: boolean;
  mtu?: number;
  mac?: string;
  name?: string;
  alias?: string;
  /** Name of a bridge; null takes the link out of its bridge. */
  master?: string | null;
  /** Of a bridge's port: isolated ones do not reach each other, only those that are not. Once it has its master. */
  isolated?: boolean;
  /** Moves the link there. */
  netns?: Netns;
  /** `none`: the kernel gives the link no fe80 address of its own. */
  ipv6Addresses?: 'none' | 'eui64';
}

export function linkHeader(index = 0, flags = 0, change = 0): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(change, 12);
  return header;
}

/** @throws HeddleError `BadInterfaceName`: 1 to 15 bytes, no slash, colon or blank */
export function linkName(name: string): Buffer {
  const good = /^[^\s/:]+$/.test(name) && Buffer.byteLength(name) <= 15 && name !== '.' && name !== '..';
  if (!good)
    throw new HeddleError(
      'BadInterfaceName',
      `"${name}" cannot name a network interface (expected 1 to 15 bytes without blanks, slashes, colons)`,
    );
  return text(IFLA.IFNAME, name);
}

/** @throws HeddleError `BadMac` */
export function macBytes(mac: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac))
    throw new HeddleError('BadMac', `"${mac}" is not a MAC address (expected 02:00:00:00:00:01)`);
  return Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
}

export const formatMac = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');

interface Common {
  alias?: string;
  mtu?: number;
  mac?: string;
}

/** `IFLA_ADDRESS`, `IFLA_MTU`, `IFLA_IFALIAS` where given. */
export function commonAttributes({ mac, mtu, alias }: Common): Buffer[] {
  const parts: Buffer[] = [];
  if (mac !== undefined) parts.push(attribute(IFLA.ADDRESS, macBytes(mac)));
  if (mtu !== undefined) parts.push(u32(IFLA.MTU, mtu));
  if (alias !== undefined) parts.push(attribute(IFLA.IFALIAS, Buffer.from(alias)));
  return parts;
}

const linkInfo = (kind: string, data?: Buffer): Buffer =>
  nested(IFLA.LINKINFO, data ? [text(INFO.KIND, kind), data] : [text(INFO.KIND, kind)]);

/** The alias cannot travel in the creating message: the kernel reads it only from a change. */
export function vethParts({ name, mtu, mac, peer }: VethOptions): Buffer[] {
  const { netns } = peer;
  const other = nestedPlain(VETH_INFO_PEER, [
    linkHeader(),
    linkName(peer.name),
    ...commonAttributes({ mac: peer.mac, mtu: peer.mtu ?? mtu }),
    ...(netns ? [u32(IFLA.NET_NS_FD, netns.fd)] : []),
  ]);
  return [
    linkHeader(),
    linkName(name),
    ...commonAttributes({ mtu, mac }),
    linkInfo('veth', nested(INFO.DATA, [other])),
  ];
}

export const bridgeParts = ({ name, mtu, mac }: BridgeOptions): Buffer[] => [
  linkHeader(),
  linkName(name),
  ...commonAttributes({ mtu, mac }),
  linkInfo('bridge'),
];

const slaveParts = <Mode>({ name, mtu, mac, netns }: SlaveOptions<Mode>, master: number): Buffer[] => [
  linkHeader(),
  linkName(name),
  ...commonAttributes({ mtu, mac }),
  u32(IFLA.LINK, master),
  ...(netns ? [u32(IFLA.NET_NS_FD, netns.fd)] : []),
];

export const macvlanParts = (options: SlaveOptions<MacvlanMode>, master: number): Buffer[] => [
  ...slaveParts(options, master),
  linkInfo('macvlan', nested(INFO.DATA, [u32(MACVLAN_MODE, macvlanModes[options.mode])])),
];

export const ipvlanParts = (options: SlaveOptions<IpvlanMode>, master: number): Buffer[] => [
  ...slaveParts(options, master),
  linkInfo('ipvlan', nested(INFO.DATA, [u16(IPVLAN_MODE, ipvlanModes[options.mode])])),
];

export function vxlanParts({ name, mtu, mac, vni, port, local }: VxlanOptions): Buffer[] {
  const address = parseAddress(local);
  const data = nested(INFO.DATA, [
    u32(VXLAN.ID, vni),
    attribute(address.family === 4 ? VXLAN.LOCAL : VXLAN.LOCAL6, toBytes(address)),
    u16be(VXLAN.PORT, port),
    u8(VXLAN.TTL, 64),
    u8(VXLAN.LEARNING, 0),
    u8(VXLAN.UDP_CSUM, 0),
    u8(VXLAN.ZERO_CSUM6_TX, 1),
    u8(VXLAN.ZERO_CSUM6_RX, 1),
  ]);
  return [linkHeader(), linkName(name), ...commonAttributes({ mtu, mac }), linkInfo('vxlan', data)];
}

export const isolatedPort = (isolated: boolean): Buffer =>
  nested(IFLA.LINKINFO, [
    text(INFO.SLAVE_KIND, 'bridge'),
    nested(INFO.SLAVE_DATA, [u8(BRPORT_ISOLATED, isolated ? 1 : 0)]),
  ]);

export function routeTunnelParts({ name, kind, port = 0, mac, mtu }: RouteTunnelOptions): Buffer[] {
  const flag = (type: number) => attribute(type, new Uint8Array(0));
  const data =
    kind === 'geneve'
      ? [
          flag(GENEVE.COLLECT_METADATA),
          u16be(GENEVE.PORT, port),
          u8(GENEVE.UDP_ZERO_CSUM6_TX, 1),
          u8(GENEVE.UDP_ZERO_CSUM6_RX, 1),
        ]
      : [flag(GRE_COLLECT_METADATA)];
  return [
    linkHeader(),
    linkName(name),
    ...commonAttributes({ mtu, mac }),
    linkInfo(kind, nested(INFO.DATA, data)),
  ];
}

export const ipv6AddressMode = (mode: 'none' | 'eui64'): Buffer =>
  nested(IFLA.AF_SPEC, [nested(AF_INET6, [u8(INET6_ADDR_GEN_MODE, mode === 'none' ? 1 : 0)])]);

export function parseLink({ body }: Message): Link {
  const attributes = parseAttributes(body, 16);
  const flags = body.readUInt32LE(8);
  const info = parseAttributes(attributes.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  const kind = textOf(info.get(INFO.KIND));
  const mac = attributes.get(IFLA.ADDRESS);
  const there = attributes.get(IFLA.LINK_NETNSID);
  const up = (flags & IFF_UP) !== 0;
  return {
    index: body.readInt32LE(4),
    name: textOf(attributes.get(IFLA.IFNAME)) ?? '',
    kind,
    up,
    running: up && (flags & IFF_LOWER_UP) !== 0,
    mtu: u32Of(attributes.get(IFLA.MTU)) ?? 0,
    mac: mac ? formatMac(mac) : '',
    master: u32Of(attributes.get(IFLA.MASTER)),
    alias: textOf(attributes.get(IFLA.IFALIAS)),
    peer: kind === 'veth' ? u32Of(attributes.get(IFLA.LINK)) : undefined,
    ...(there === undefined ? {} : { peerNamespace: there.readInt32LE() }),
    vxlan: kind === 'vxlan' ? parseVxlan(info.get(INFO.DATA)) : undefined,
    tunnel: parseRouteTunnel(kind, info.get(INFO.DATA)),
    ...parseOwn(kind, info.get(INFO.DATA)),
    ...(textOf(info.get(INFO.SLAVE_KIND)) === 'bridge' ? { port: parsePort(info.get(INFO.SLAVE_DATA)) } : {}),
  };
}

function parsePort(data: Buffer | undefined): Link['port'] {
  const attributes = parseAttributes(data ?? Buffer.alloc(0));
  const is = (type: number): boolean => attributes.get(type)?.[0] === 1;
  return { hairpin: is(BRPORT_HAIRPIN), isolated: is(BRPORT_ISOLATED) };
}

function parseOwn(kind: string | undefined, data: Buffer | undefined): Pick<Link, 'mode' | 'filtersVlans'> {
  if (!data || (kind !== 'macvlan' && kind !== 'ipvlan' && kind !== 'bridge')) return {};
  const attributes = parseAttributes(data);
  if (kind === 'bridge') return { filtersVlans: attributes.get(BRIDGE_VLAN_FILTERING)?.[0] === 1 };
  const [names, number] =
    kind === 'macvlan'
      ? [macvlanModes, u32Of(attributes.get(MACVLAN_MODE))]
      : [ipvlanModes, attributes.get(IPVLAN_MODE)?.readUInt16LE(0)];
  return { mode: Object.entries(names).find(([, value]) => value === number)?.[0] };
}

function parseRouteTunnel(kind: string | undefined, data: Buffer | undefined): Link['tunnel'] {
  const attributes = parseAttributes(data ?? Buffer.alloc(0));
  if (kind === 'geneve')
    return {
      byRoute: attributes.has(GENEVE.COLLECT_METADATA),
      port: attributes.get(GENEVE.PORT)?.readUInt16BE(0),
    };
  if (kind !== 'gre' && kind !== 'ip6gre') return undefined;
  return { byRoute: attributes.has(GRE_COLLECT_METADATA), port: undefined };
}

function parseVxlan(data: Buffer | undefined): Link['vxlan'] {
  const attributes = parseAttributes(data ?? Buffer.alloc(0));
  const local = attributes.get(VXLAN.LOCAL) ?? attributes.get(VXLAN.LOCAL6);
  return {
    vni: u32Of(attributes.get(VXLAN.ID)) ?? 0,
    port: attributes.get(VXLAN.PORT)?.readUInt16BE(0) ?? 0,
    local: local && formatAddress(fromBytes(local)),
  };
}
