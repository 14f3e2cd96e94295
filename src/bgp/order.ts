/** Orders that the RFCs ask for. */
import { parseAddress, toBytes } from '../lib/ip.ts';

/** Addresses (and identifiers) as numbers: negative where `a` is less. IPv4 comes before IPv6. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  const [one, other] = [toBytes(parseAddress(a)), toBytes(parseAddress(b))];
  return one.length - other.length || Buffer.compare(one, other);
}
