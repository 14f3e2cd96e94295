/** Pieces of rules in the order and spelling in which iptables-save prints them. */
import { formatCidr, parseCidr } from '../../lib/ip.ts';
import type { ServiceFrontend } from '../plan/tables.ts';
import type { Family } from './objects.ts';

export const familyOf = (text: string): Family => (text.includes(':') ? 6 : 4);

/** Of a range itself. */
export const hostCidr = (address: string): string =>
  address.includes('/') ? address : `${address}/${familyOf(address) === 4 ? 32 : 128}`;

export const cidrText = (cidr: string): string => formatCidr(parseCidr(cidr));

/** Quotes have no place in names of Services. */
export const comment = (text: string): string => `-m comment --comment "${text}"`;

/** `-d 10.96.0.1/32 -p tcp -m comment --comment "…" -m tcp --dport 80` */
export function matching(
  { address, protocol, port }: Pick<ServiceFrontend, 'address' | 'protocol' | 'port'>,
  note: string,
  source = '',
): string {
  const name = protocol.toLowerCase();
  return `${source}-d ${hostCidr(address)} -p ${name} ${comment(note)} -m ${name} --dport ${port}`;
}

/** Addresses of a node's loopback, IPv4: what the kernel lets out by `route_localnet`, which IPv6 has not. */
export const LOOPBACK = '127.0.0.0/8';

/** The kernel holds a share in 31 bits, and iptables prints what it holds. */
export const probability = (share: number): string =>
  (Math.round(share * 0x80000000) / 0x80000000).toFixed(11);

/** TCP by reset: ICMP errors are few a second and client. */
export const reject = (family: Family, protocol: string): string =>
  protocol === 'TCP'
    ? '-j REJECT --reject-with tcp-reset'
    : `-j REJECT --reject-with ${family === 4 ? 'icmp' : 'icmp6'}-port-unreachable`;

export const oneHost = (family: Family): string =>
  `--mask ${family === 4 ? '255.255.255.255' : 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'}`;
