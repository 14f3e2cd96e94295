/** RTM_*ADDR, *ROUTE and *NEIGH: what goes in and comes out (linux/rtnetlink.h, linux/neighbour.h). */
import {
  bits,
  type Family,
  formatAddress,
  formatCidr,
  fromBytes,
  parseAddress,
  parseCidr,
  toBytes,
} from '../lib/ip.ts';
import { formatMac, macBytes } from './link-codec.ts';
import { attribute, type Message, nested, parseAttributes, u32, u32Of, u8 } from './netlink.ts';

/** Heddle's mark on routes and neighbours (`ip route show proto 72`). */
export const PROTOCOL = 72;

const AF_INET = 2;
const AF_INET6 = 10;
const AF_BRIDGE = 7;
const addressFamily = (family: Family): number => (family === 4 ? AF_INET : AF_INET6);

const IFA = { ADDRESS: 1, LOCAL: 2, CACHEINFO: 6, FLAGS: 8 } as const;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
const IFA_F_TENTATIVE = 0x40;

export interface LinkAddress {
  readonly link: number;
  /** `10.0.0.1/24` */
  readonly address: string;
  /** IPv6 only: duplicate detection is under way, nothing can be bound to it yet. */
  readonly tentative: boolean;
}

export interface AddressOptions {
  /** An IPv6 address is usable at once. */
  nodad?: boolean;
  /** Never chosen as the source of what this machine sends to others (bound sockets may still use it). */
  noSource?: boolean;
  /** The kernel adds no route to its network. */
  noPrefixRoute?: boolean;
}

const RT_SCOPE_HOST = 254;
/** struct ifa_cacheinfo: preferred for no time, so deprecated (RFC 4862 section 5.5.4), and valid for ever. */
const deprecated = Buffer.alloc(16);
deprecated.writeUInt32LE(0xffffffff, 4);

export function addressParts(link: number, address: string, options: AddressOptions = {}): Buffer[] {
  const { family, length } = parseCidr(address);
  const local = toBytes(parseAddress(address.slice(0, address.indexOf('/'))));
  const header = Buffer.alloc(8);
  header[0] = addressFamily(family);
  header[1] = length;
  header.writeInt32LE(link, 4);
  if (options.noSource && family === 4) header[3] = RT_SCOPE_HOST;
  const set =
    (options.nodad && family === 6 ? IFA_F_NODAD : 0) | (options.noPrefixRoute ? IFA_F_NOPREFIXROUTE : 0);
  const flags = set === 0 ? [] : [u32(IFA.FLAGS, set)];
  const times = options.noSource && family === 6 ? [attribute(IFA.CACHEINFO, deprecated)] : [];
  return [header, attribute(IFA.LOCAL, local), attribute(IFA.ADDRESS, local), ...flags, ...times];
}

export function parseLinkAddress({ body }: Message): LinkAddress | undefined {
  const attributes = parseAttributes(body, 8);
  const local = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  if (!local || (body[0] !== AF_INET && body[0] !== AF_INET6)) return undefined;
  const flags = u32Of(attributes.get(IFA.FLAGS)) ?? body[2] ?? 0;
  return {
    link: body.readInt32LE(4),
    address: `${formatAddress(fromBytes(local))}/${body[1]}`,
    tentative: (flags & IFA_F_TENTATIVE) !== 0,
  };
}

const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  VIA: 18,
  ENCAP_TYPE: 21,
  ENCAP: 22,
} as const;
const RTAX_MTU = 2;
/** linux/lwtunnel.h: by the family of the tunnel's own addresses. */
const ENCAP_TYPE = { 4: 2, 6: 4 } as const;
const ENCAP = { ID: 1, DST: 2, SRC: 3, TTL: 4 } as const;
const TUNNEL_TTL = 64;
const RT_TABLE_MAIN = 254;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTN_UNICAST = 1;
const RTNH_F_ONLINK = 4;
const routeTypes: Readonly<Record<number, RouteType>> = {
  1: 'unicast',
  2: 'local',
  3: 'broadcast',
  4: 'anycast',
  5: 'multicast',
  6: 'blackhole',
  7: 'unreachable',
};
const routeTypeNumber: Readonly<Record<RouteType, number>> = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
};

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable';

export interface RouteEntry {
  /** `10.244.1.0/24`; `0.0.0.0/0` and `::/0` are the defaults. */
  readonly dst: string;
  readonly via: string | undefined;
  /** Index of the link. */
  readonly dev: number | undefined;
  readonly src: string | undefined;
  readonly protocol: number;
  readonly table: number;
  readonly type: RouteType | undefined;
  readonly metric: number;
  readonly onlink: boolean;
  /** Of packets that are sent by it, where it says one. */
  readonly mtu?: number | undefined;
  readonly tunnel?: TunnelEnd | undefined;
  /** Of a route of several ways, instead of `via` and `dev`. */
  readonly hops?: readonly { readonly via: string | undefined; readonly dev: number }[];
}

/** The other end of a tunnel, as a route says it to the link of the tunnel. */
export interface TunnelEnd {
  /** VNI of GENEVE; GRE sends none. */
  readonly id: number;
  /** Underlay addresses, both of one family. */
  readonly dst: string;
  readonly src?: string | undefined;
}

/** One of several equal ways. */
export interface RouteHop {
  via: string;
  /** Link name. */
  dev: string;
}

export interface RouteOptions {
  dst: string;
  via?: string;
  /** Link name. */
  dev?: string;
  /** Source address of what this machine itself sends by the route. */
  src?: string;
  /** `via` is reached through `dev` though no address of `dev` says so. */
  onlink?: boolean;
  /** Not written where no link leads to `via`; else that is an error. */
  ifReachable?: boolean;
  /** The destination is on the link itself; the default where there is no `via`. */
  scopeLink?: boolean;
  /** Default 254, main. */
  table?: number;
  /** Of several routes to `dst` the least counts. Default: the kernel's own, 0 for IPv4 and 1024 for IPv6. */
  metric?: number;
  /** No larger packets are sent by it. */
  mtu?: number | undefined;
  /** For links that `addRouteTunnel` makes. */
  tunnel?: TunnelEnd | undefined;
  /** Default `unicast`. */
  type?: 'unicast' | 'local' | 'blackhole' | 'unreachable';
}

export function routeParts(route: RouteOptions, dev: number | undefined): Buffer[] {
  const dst = parseCidr(route.dst);
  const table = route.table ?? RT_TABLE_MAIN;
  const type = route.type ?? 'unicast';
  const header = Buffer.alloc(12);
  header[0] = addressFamily(dst.family);
  header[1] = dst.length;
  header[4] = table < 256 ? table : 0;
  header[5] = PROTOCOL;
  header[6] = scopeOf(route, dst.family, type);
  header[7] = routeTypeNumber[type];
  header.writeUInt32LE(route.onlink ? RTNH_F_ONLINK : 0, 8);
  const parts: Buffer[] = [header, attribute(RTA.DST, toBytes(dst)), u32(RTA.TABLE, table)];
  if (route.via !== undefined) parts.push(gateway(route.via, dst.family));
  if (dev !== undefined) parts.push(u32(RTA.OIF, dev));
  if (route.metric !== undefined) parts.push(u32(RTA.PRIORITY, route.metric));
  if (route.src !== undefined) parts.push(attribute(RTA.PREFSRC, toBytes(parseAddress(route.src))));
  if (route.mtu !== undefined) parts.push(nested(RTA.METRICS, [u32(RTAX_MTU, route.mtu)]));
  if (route.tunnel) parts.push(...tunnelParts(route.tunnel));
  return parts;
}

function tunnelParts({ id, dst, src }: TunnelEnd): Buffer[] {
  const end = parseAddress(dst);
  const type = Buffer.alloc(2);
  type.writeUInt16LE(ENCAP_TYPE[end.family]);
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(id));
  const parts = [
    attribute(ENCAP.ID, number),
    attribute(ENCAP.DST, toBytes(end)),
    u8(ENCAP.TTL, TUNNEL_TTL),
    ...(src === undefined ? [] : [attribute(ENCAP.SRC, toBytes(parseAddress(src)))]),
  ];
  return [attribute(RTA.ENCAP_TYPE, type), nested(RTA.ENCAP, parts)];
}

const NOWHERE = new Set(['0.0.0.0', '::']);

function parseTunnel(type: Buffer | undefined, data: Buffer | undefined): TunnelEnd | undefined {
  const kind = type?.readUInt16LE(0);
  if (!data || (kind !== ENCAP_TYPE[4] && kind !== ENCAP_TYPE[6])) return undefined;
  const attributes = parseAttributes(data);
  const src = address(attributes.get(ENCAP.SRC));
  return {
    id: Number(attributes.get(ENCAP.ID)?.readBigUInt64BE(0) ?? 0n),
    dst: address(attributes.get(ENCAP.DST)) ?? '',
    src: src === undefined || NOWHERE.has(src) ? undefined : src,
  };
}

/** Several equal ways (struct rtnexthop each), besides what `route` says. */
export function multipathParts(
  route: RouteOptions,
  hops: readonly { via: string; link: number }[],
): Buffer[] {
  const { family } = parseCidr(route.dst);
  const entries = hops.map(({ via, link }) => {
    const data = gateway(via, family);
    const header = Buffer.alloc(8);
    header.writeUInt16LE(8 + data.length, 0);
    header.writeInt32LE(link, 4);
    return Buffer.concat([header, data]);
  });
  const [header, ...rest] = routeParts({ ...route, scopeLink: false }, undefined);
  return [header ?? Buffer.alloc(12), ...rest, attribute(RTA.MULTIPATH, Buffer.concat(entries))];
}

function parseHops(data: Buffer | undefined): { via: string | undefined; dev: number }[] | undefined {
  if (!data) return undefined;
  const hops: { via: string | undefined; dev: number }[] = [];
  for (let at = 0; at + 8 <= data.length; ) {
    const length = data.readUInt16LE(at);
    if (length < 8) break;
    const attributes = parseAttributes(data.subarray(at, at + length), 8);
    const via = address(attributes.get(RTA.GATEWAY)) ?? address(attributes.get(RTA.VIA)?.subarray(2));
    hops.push({ via, dev: data.readInt32LE(at + 4) });
    at += (length + 3) & ~3;
  }
  return hops;
}

/** An IPv4 route to a next hop that has only an IPv6 address carries RTA_VIA (RFC 5549). */
function gateway(via: string, family: Family): Buffer {
  const hop = parseAddress(via);
  if (hop.family === family) return attribute(RTA.GATEWAY, toBytes(hop));
  return attribute(RTA.VIA, Buffer.concat([Uint8Array.of(addressFamily(hop.family), 0), toBytes(hop)]));
}

function scopeOf(route: RouteOptions, family: Family, type: RouteType): number {
  if (family === 4 && type === 'local') return RT_SCOPE_HOST;
  if (family === 6 || type !== 'unicast') return RT_SCOPE_UNIVERSE;
  return (route.scopeLink ?? route.via === undefined) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

/** Matches our routes to `dst` only: the mark is part of the key. */
export function routeKeyParts(
  key: { dst: string; table?: number; metric?: number },
  dev: number | undefined,
): Buffer[] {
  const parts = routeParts({ dst: key.dst, table: key.table, metric: key.metric }, dev);
  const header = parts[0];
  if (header) {
    header[6] = RT_SCOPE_NOWHERE;
    header[7] = 0;
  }
  return parts;
}

/** The answer is the route as it was written, with its own `dst`, protocol and metric. */
const RTM_F_FIB_MATCH = 0x2000;

/** Which route a packet to `text` takes. */
export function routeToParts(text: string, { asWritten = false } = {}): Buffer[] {
  const dst = parseAddress(text);
  const header = Buffer.alloc(12);
  header[0] = addressFamily(dst.family);
  header[1] = bits(dst.family);
  header.writeUInt32LE(asWritten ? RTM_F_FIB_MATCH : 0, 8);
  return [header, attribute(RTA.DST, toBytes(dst))];
}

const address = (data: Buffer | undefined): string | undefined => data && formatAddress(fromBytes(data));

export function parseRoute({ body }: Message): RouteEntry | undefined {
  if (body[0] !== AF_INET && body[0] !== AF_INET6) return undefined;
  const family: Family = body[0] === AF_INET ? 4 : 6;
  const attributes = parseAttributes(body, 12);
  const dst = attributes.get(RTA.DST) ?? Buffer.alloc(bits(family) / 8);
  const via = attributes.get(RTA.VIA)?.subarray(2);
  return {
    dst: formatCidr({ ...fromBytes(dst), length: body[1] ?? 0 }),
    via: address(attributes.get(RTA.GATEWAY)) ?? address(via),
    dev: u32Of(attributes.get(RTA.OIF)),
    src: address(attributes.get(RTA.PREFSRC)),
    protocol: body[5] ?? 0,
    table: u32Of(attributes.get(RTA.TABLE)) ?? body[4] ?? 0,
    type: routeTypes[body[7] ?? RTN_UNICAST],
    metric: u32Of(attributes.get(RTA.PRIORITY)) ?? 0,
    onlink: (body.readUInt32LE(8) & RTNH_F_ONLINK) !== 0,
    mtu: u32Of(parseAttributes(attributes.get(RTA.METRICS) ?? Buffer.alloc(0)).get(RTAX_MTU)),
    tunnel: parseTunnel(attributes.get(RTA.ENCAP_TYPE), attributes.get(RTA.ENCAP)),
    hops: parseHops(attributes.get(RTA.MULTIPATH)),
  };
}

const NDA = { DST: 1, LLADDR: 2, IFINDEX: 8, PROTOCOL: 12 } as const;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_USE = 0x01;
const NTF_SELF = 0x02;
const NTF_EXT_LEARNED = 0x10;

export interface Neighbour {
  readonly dev: number;
  readonly address: string;
  /** Empty while it is being looked for. */
  readonly mac: string;
  readonly permanent: boolean;
  /** 72 where Heddle made it; 0 is unknown. */
  readonly protocol: number;
}

export interface FdbEntry {
  readonly dev: number;
  readonly mac: string;
  /** The underlay address of the tunnel's other end; undefined for entries of bridges. */
  readonly dst: string | undefined;
  readonly protocol: number;
}

function neighbourHeader(family: number, dev: number, state: number, flags: number): Buffer {
  const header = Buffer.alloc(12);
  header[0] = family;
  header.writeInt32LE(dev, 4);
  header.writeUInt16LE(state, 8);
  header[10] = flags;
  return header;
}

const mark = u8(NDA.PROTOCOL, PROTOCOL);

export function neighbourParts(dev: number, text: string, mac?: string): Buffer[] {
  const dst = parseAddress(text);
  const parts = [
    neighbourHeader(addressFamily(dst.family), dev, mac === undefined ? 0 : NUD_PERMANENT, 0),
    attribute(NDA.DST, toBytes(dst)),
  ];
  return mac === undefined ? parts : [...parts, attribute(NDA.LLADDR, macBytes(mac)), mark];
}

/** No state: what the kernel knows stays, and what it does not know it asks for. */
export function askedNeighbourParts(dev: number, text: string): Buffer[] {
  const dst = parseAddress(text);
  const header = neighbourHeader(addressFamily(dst.family), dev, 0, NTF_USE | NTF_EXT_LEARNED);
  return [header, attribute(NDA.DST, toBytes(dst)), mark];
}

export function fdbParts(dev: number, mac: string, dst: string | undefined): Buffer[] {
  const parts = [
    neighbourHeader(AF_BRIDGE, dev, NUD_PERMANENT | NUD_NOARP, NTF_SELF),
    attribute(NDA.LLADDR, macBytes(mac)),
  ];
  return dst === undefined ? parts : [...parts, attribute(NDA.DST, toBytes(parseAddress(dst)))];
}

/** `link`: of this one alone. */
export const neighbourDump = (link?: number): Buffer[] => [
  neighbourHeader(0, 0, 0, 0),
  ...(link === undefined ? [] : [u32(NDA.IFINDEX, link)]),
];
export const fdbDump = (): Buffer[] => [neighbourHeader(AF_BRIDGE, 0, 0, 0)];

export function parseNeighbour({ body }: Message): Neighbour | undefined {
  const attributes = parseAttributes(body, 12);
  const dst = attributes.get(NDA.DST);
  if (!dst || (body[0] !== AF_INET && body[0] !== AF_INET6)) return undefined;
  const mac = attributes.get(NDA.LLADDR);
  return {
    dev: body.readInt32LE(4),
    address: formatAddress(fromBytes(dst)),
    mac: mac ? formatMac(mac) : '',
    permanent: (body.readUInt16LE(8) & NUD_PERMANENT) !== 0,
    protocol: attributes.get(NDA.PROTOCOL)?.[0] ?? 0,
  };
}

export function parseFdb({ body }: Message): FdbEntry | undefined {
  const attributes = parseAttributes(body, 12);
  const mac = attributes.get(NDA.LLADDR);
  if (!mac || body[0] !== AF_BRIDGE) return undefined;
  return {
    dev: body.readInt32LE(4),
    mac: formatMac(mac),
    dst: address(attributes.get(NDA.DST)),
    protocol: attributes.get(NDA.PROTOCOL)?.[0] ?? 0,
  };
}
