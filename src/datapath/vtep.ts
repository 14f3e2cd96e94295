/**
 * Addresses of the tunnel's ends. Every node computes those of every other from the node's first underlay
 * address, so that nothing has to be announced or learned.
 */
import { parseAddress, toBytes } from '../lib/ip.ts';

/** Locally administered; four bytes of an IPv4 address, or a hash (FNV-1a) of an IPv6 one. */
export function vtepMac(nodeAddress: string): string {
  const bytes = toBytes(parseAddress(nodeAddress));
  const tail = bytes.length === 4 ? [...bytes] : fnv1a(bytes);
  return [0x02, 0x72, ...tail].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function fnv1a(bytes: Uint8Array): number[] {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return [24, 16, 8, 0].map((shift) => (hash >>> shift) & 255);
}

/** The gateway of IPv6 routes into the tunnel: fe80 with the MAC in it (RFC 4291 appendix A). */
export function vtepLinkLocal(mac: string): string {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const group = (high: number, low: number) => ((high << 8) | low).toString(16);
  return `fe80::${group(a ^ 2, b)}:${group(c, 0xff)}:${group(0xfe, d)}:${group(e, f)}`;
}
