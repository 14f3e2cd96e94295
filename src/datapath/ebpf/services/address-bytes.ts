/** Addresses as the service maps hold them: 16 bytes in network order, IPv4 as `::ffff:a.b.c.d`. */
import { formatAddress, fromBytes, groups6, parseAddress, parseCidr, toBytes } from '../../../lib/ip.ts';

const MAPPED_BITS = 96;

/** @throws HeddleError `BadAddress` */
export function addressBytes(text: string): Uint8Array {
  const out = new Uint8Array(16);
  writeAddress(text, out, 0);
  return out;
}

/** Into 16 bytes that are 0. @throws HeddleError `BadAddress` */
export function writeAddress(text: string, out: Uint8Array, offset: number): void {
  if (writeFast4(text, out, offset)) return;
  const groups = groups6(text);
  // Says what is wrong.
  if (!groups) parseAddress(text);
  for (const [i, group] of groups?.entries() ?? []) {
    out[offset + 2 * i] = group >> 8;
    out[offset + 2 * i + 1] = group;
  }
}

/** Ten thousands of addresses are written at a start; the general way takes several times as long. */
function writeFast4(text: string, out: Uint8Array, offset: number): boolean {
  const last = offset + 15;
  let part = 0;
  let at = offset + 12;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (digits === 0 || at === last) return false;
      out[at++] = part;
      part = 0;
      digits = 0;
    } else {
      if (code < 48 || code > 57 || (digits > 0 && part === 0)) return false;
      part = part * 10 + code - 48;
      if (part > 255) return false;
      digits++;
    }
  }
  if (at !== last || digits === 0) return false;
  out[last] = part;
  out[offset + 10] = 0xff;
  out[offset + 11] = 0xff;
  return true;
}

/** A range as prefix trees take it; `prefix` counts bits of the 16 bytes. @throws HeddleError `BadAddress` */
export function rangeBytes(cidr: string): { prefix: number; address: Uint8Array } {
  const { family, value, length } = parseCidr(cidr);
  const address = new Uint8Array(16);
  if (family === 4) address.fill(0xff, 10, 12);
  address.set(toBytes({ family, value }), family === 4 ? 12 : 0);
  return { prefix: family === 4 ? MAPPED_BITS + length : length, address };
}

const isMapped = (bytes: Uint8Array): boolean =>
  bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);

export const addressText = (bytes: Uint8Array): string =>
  formatAddress(fromBytes(isMapped(bytes) ? bytes.subarray(12, 16) : bytes.subarray(0, 16)));

export const swapPort = (port: number): number => ((port & 0xff) << 8) | (port >> 8);
