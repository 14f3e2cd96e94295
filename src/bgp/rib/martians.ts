/** Ranges that nobody can be reached at by a route (RFC 6890, RFC 4291): a peer that tells them is mistaken. */
import { contains, firstOf, parseCidr } from '../../lib/ip.ts';

const ranges = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/127',
  'fe80::/10',
  'ff00::/8',
].map(parseCidr);

/** The default routes are none. */
export function isMartian(prefix: string): boolean {
  const cidr = parseCidr(prefix);
  if (cidr.length === 0) return false;
  return ranges.some((range) => cidr.length >= range.length && contains(range, firstOf(cidr)));
}
