/** MAC addresses of machines on the underlay. */
import { parseAddress, toBytes } from '../lib/ip.ts';

/** Locally administered, from the end of a machine's first address: the same at every start. */
export function underlayMac(address = '0.0.0.0'): string {
  const bytes = toBytes(parseAddress(address));
  return ['02', '48', ...[...bytes.subarray(-4)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
