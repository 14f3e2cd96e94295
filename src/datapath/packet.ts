/** The headers of a packet, as far as a flow needs them. What is cut short or broken yields undefined. */
import { formatAddress, fromBytes } from '../lib/ip.ts';

export interface PacketFlow {
  readonly family: 4 | 6;
  readonly src: string;
  readonly dst: string;
  /** IP protocol number of the payload, extension headers skipped. */
  readonly protocol: number;
  /** 0 where the protocol has no ports or they are not in this fragment. */
  readonly sport: number;
  readonly dport: number;
}

const WITH_PORTS = new Set([6, 17, 33, 132, 136]);

/** @param bytes from the IP header on. */
export function parsePacket(bytes: Uint8Array): PacketFlow | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4) return parse4(bytes);
  if (version === 6) return parse6(bytes);
  return undefined;
}

const text = (bytes: Uint8Array, from: number, size: number): string =>
  formatAddress(fromBytes(bytes.subarray(from, from + size)));

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

function ports(bytes: Uint8Array, at: number, protocol: number): { sport: number; dport: number } {
  if (!WITH_PORTS.has(protocol) || bytes.length < at + 4) return { sport: 0, dport: 0 };
  return { sport: u16(bytes, at), dport: u16(bytes, at + 2) };
}

/** RFC 791 */
function parse4(bytes: Uint8Array): PacketFlow | undefined {
  const headerSize = ((bytes[0] ?? 0) & 15) * 4;
  if (bytes.length < 20 || headerSize < 20) return undefined;
  const protocol = bytes[9] ?? 0;
  const isLaterFragment = (u16(bytes, 6) & 0x1fff) !== 0;
  return {
    family: 4,
    src: text(bytes, 12, 4),
    dst: text(bytes, 16, 4),
    protocol,
    ...(isLaterFragment ? { sport: 0, dport: 0 } : ports(bytes, headerSize, protocol)),
  };
}

const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** Hop-by-hop, routing, destination options, mobility, HIP, shim6: all say their size in the same way. */
const EXTENSIONS = new Set([0, 43, 60, 135, 139, 140]);

/** RFC 8200 section 4 */
function parse6(bytes: Uint8Array): PacketFlow | undefined {
  if (bytes.length < 40) return undefined;
  const ends = { family: 6, src: text(bytes, 8, 16), dst: text(bytes, 24, 16) } as const;
  let protocol = bytes[6] ?? 0;
  let at = 40;
  for (;;) {
    if (protocol === FRAGMENT) {
      const isLater = (u16(bytes, at + 2) & 0xfff8) !== 0;
      protocol = bytes[at] ?? 0;
      at += 8;
      if (isLater) return { ...ends, protocol, sport: 0, dport: 0 };
    } else if (EXTENSIONS.has(protocol) || protocol === AUTHENTICATION) {
      if (bytes.length < at + 2) return { ...ends, protocol, sport: 0, dport: 0 };
      const size = bytes[at + 1] ?? 0;
      // RFC 4302 section 2.2: the one that counts in units of 4 bytes.
      const step = protocol === AUTHENTICATION ? (size + 2) * 4 : (size + 1) * 8;
      protocol = bytes[at] ?? 0;
      at += step;
    } else return { ...ends, protocol, ...ports(bytes, at, protocol) };
  }
}
