/** Optional capabilities of OPEN (RFC 5492): what each end can do beyond RFC 4271. */
import { type AddressFamily, AFI, ERROR, familyOf, OPEN_ERROR, SAFI_UNICAST } from './codes.ts';
import { BgpError } from './notification.ts';

const CODE = {
  MULTIPROTOCOL: 1,
  ROUTE_REFRESH: 2,
  EXTENDED_NEXT_HOP: 5,
  GRACEFUL_RESTART: 64,
  FOUR_OCTET_AS: 65,
} as const;

export interface GracefulRestartCapability {
  /** The sender has just restarted and waits for End-of-RIB (the R bit). */
  readonly restarting: boolean;
  /** Seconds that the sender asks to be waited for; 0 to 4095. */
  readonly restartTime: number;
  /** Whose routes stay usable; `forwarding`: they were kept over the last restart (the F bit). */
  readonly families: readonly { readonly family: AddressFamily; readonly forwarding: boolean }[];
}

export interface Capabilities {
  /** Families of RFC 4760. Undefined: the sender named none, so it speaks IPv4 unicast alone. */
  readonly families: readonly AddressFamily[] | undefined;
  readonly routeRefresh: boolean;
  /** RFC 6793. */
  readonly fourOctetAs: number | undefined;
  readonly gracefulRestart: GracefulRestartCapability | undefined;
  /** RFC 8950: IPv4 prefixes with a next hop of IPv6. */
  readonly extendedNextHop: boolean;
  /** Codes that are not known here, for logs. */
  readonly unknown: readonly number[];
}

const RESTART_STATE = 0x80;
const FORWARDING = 0x80;

const tlv = (code: number, data: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.of(code, data.length), data]);

export function encodeCapabilities(capabilities: Omit<Capabilities, 'unknown'>): Uint8Array {
  const { families, routeRefresh, fourOctetAs, gracefulRestart, extendedNextHop } = capabilities;
  const parts: Uint8Array[] = [];
  for (const family of families ?? [])
    parts.push(tlv(CODE.MULTIPROTOCOL, Uint8Array.of(0, AFI[family], 0, SAFI_UNICAST)));
  if (routeRefresh) parts.push(tlv(CODE.ROUTE_REFRESH, new Uint8Array()));
  if (extendedNextHop)
    parts.push(tlv(CODE.EXTENDED_NEXT_HOP, Uint8Array.of(0, AFI.ipv4, 0, SAFI_UNICAST, 0, AFI.ipv6)));
  if (gracefulRestart) parts.push(tlv(CODE.GRACEFUL_RESTART, gracefulRestartData(gracefulRestart)));
  if (fourOctetAs !== undefined) {
    const data = Buffer.alloc(4);
    data.writeUInt32BE(fourOctetAs);
    parts.push(tlv(CODE.FOUR_OCTET_AS, data));
  }
  return Buffer.concat(parts);
}

function gracefulRestartData({ restarting, restartTime, families }: GracefulRestartCapability): Uint8Array {
  const header = Buffer.alloc(2);
  header.writeUInt16BE((restarting ? 0x8000 : 0) | (restartTime & 0xfff));
  const tuples = families.map(({ family, forwarding }) =>
    Uint8Array.of(0, AFI[family], SAFI_UNICAST, forwarding ? FORWARDING : 0),
  );
  return Buffer.concat([header, ...tuples]);
}

interface Found {
  families: AddressFamily[];
  anyFamily: boolean;
  routeRefresh: boolean;
  fourOctetAs: number | undefined;
  gracefulRestart: GracefulRestartCapability | undefined;
  extendedNextHop: boolean;
  unknown: number[];
}

/**
 * `list`: the capability parameters of an OPEN, one after the other. Capabilities whose length is not that of
 * their kind are passed over (RFC 5492 leaves it open; the session is worth more than the wish).
 * @throws BgpError where lengths overrun
 */
export function decodeCapabilities(list: Uint8Array): Capabilities {
  const found: Found = {
    families: [],
    anyFamily: false,
    routeRefresh: false,
    fourOctetAs: undefined,
    gracefulRestart: undefined,
    extendedNextHop: false,
    unknown: [],
  };
  for (let at = 0; at < list.length; ) {
    const length = list[at + 1];
    if (length === undefined || at + 2 + length > list.length)
      throw new BgpError(ERROR.OPEN, OPEN_ERROR.OPTIONAL_PARAMETER, 'a capability is cut off');
    take(found, list[at] ?? 0, Buffer.from(list.subarray(at + 2, at + 2 + length)));
    at += 2 + length;
  }
  const { anyFamily, families, ...rest } = found;
  return { ...rest, families: anyFamily ? [...new Set(families)] : undefined };
}

function take(found: Found, code: number, data: Buffer): void {
  if (code === CODE.MULTIPROTOCOL) takeFamily(found, data);
  else if (code === CODE.ROUTE_REFRESH) found.routeRefresh = true;
  else if (code === CODE.FOUR_OCTET_AS)
    found.fourOctetAs = data.length === 4 ? data.readUInt32BE() : undefined;
  else if (code === CODE.GRACEFUL_RESTART) found.gracefulRestart = decodeGracefulRestart(data);
  else if (code === CODE.EXTENDED_NEXT_HOP) found.extendedNextHop ||= namesIpv4OverIpv6(data);
  else found.unknown.push(code);
}

function takeFamily(found: Found, data: Buffer): void {
  if (data.length !== 4) return;
  found.anyFamily = true;
  const family = familyOf(data.readUInt16BE(0), data[3] ?? 0);
  if (family) found.families.push(family);
}

function decodeGracefulRestart(data: Buffer): GracefulRestartCapability | undefined {
  if (data.length < 2) return undefined;
  const families: { family: AddressFamily; forwarding: boolean }[] = [];
  for (let at = 2; at + 4 <= data.length; at += 4) {
    const family = familyOf(data.readUInt16BE(at), data[at + 2] ?? 0);
    if (family) families.push({ family, forwarding: ((data[at + 3] ?? 0) & FORWARDING) !== 0 });
  }
  return {
    restarting: ((data[0] ?? 0) & RESTART_STATE) !== 0,
    restartTime: data.readUInt16BE(0) & 0xfff,
    families,
  };
}

function namesIpv4OverIpv6(data: Buffer): boolean {
  for (let at = 0; at + 6 <= data.length; at += 6) {
    const family = familyOf(data.readUInt16BE(at), data.readUInt16BE(at + 2));
    if (family === 'ipv4' && data.readUInt16BE(at + 4) === AFI.ipv6) return true;
  }
  return false;
}
