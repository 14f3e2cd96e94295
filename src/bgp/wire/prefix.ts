/** Network layer reachability: a length in bits and as many octets as it needs (RFC 4271 section 4.3). */
import { formatCidr, fromBytes, parseCidr, toBytes } from '../../lib/ip.ts';
import { type AddressFamily, ERROR, UPDATE_ERROR } from './codes.ts';
import { BgpError } from './notification.ts';

export const maxLength = (family: AddressFamily): number => (family === 'ipv4' ? 32 : 128);

export function encodePrefix(prefix: string): Uint8Array {
  const cidr = parseCidr(prefix);
  const octets = Math.ceil(cidr.length / 8);
  const out = new Uint8Array(1 + octets);
  out[0] = cidr.length;
  out.set(toBytes(cidr).subarray(0, octets), 1);
  return out;
}

/**
 * Canonical texts (`10.0.0.0/8`), host bits cleared. A list that cannot be read to its end leaves it open which
 * routes were meant, so the session ends (RFC 7606 section 5.3).
 * @throws BgpError Invalid Network Field
 */
export function decodePrefixes(data: Uint8Array, family: AddressFamily): string[] {
  const prefixes: string[] = [];
  const most = maxLength(family);
  for (let at = 0; at < data.length; ) {
    const length = data[at] ?? 0;
    const octets = Math.ceil(length / 8);
    if (length > most) throw bad(`a length of ${length} bits, at most ${most} in ${family}`);
    if (at + 1 + octets > data.length) throw bad(`a prefix of ${length} bits is cut off`);
    prefixes.push(prefixText(data.subarray(at + 1, at + 1 + octets), length, family));
    at += 1 + octets;
  }
  return prefixes;
}

const bad = (detail: string) => new BgpError(ERROR.UPDATE, UPDATE_ERROR.NETWORK_FIELD, detail);

function prefixText(octets: Uint8Array, length: number, family: AddressFamily): string {
  const full = new Uint8Array(maxLength(family) / 8);
  full.set(octets);
  const last = octets.length - 1;
  const spare = octets.length * 8 - length;
  if (last >= 0) full[last] = (full[last] ?? 0) & (0xff << spare);
  if (family === 'ipv4') return `${full.join('.')}/${length}`;
  return formatCidr({ ...fromBytes(full), length });
}
