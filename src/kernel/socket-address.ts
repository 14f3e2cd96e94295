/** Addresses of sockets as the kernel has them (ip(7), ipv6(7)). */
import { type Address, toBytes } from '../lib/ip.ts';

export const AF_INET = 2;
export const AF_INET6 = 10;

/** struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)); `scope` is a link's index, for fe80 addresses. */
export function socketAddress(address: Address, port: number, scope = 0): Buffer {
  const out = Buffer.alloc(address.family === 4 ? 16 : 28);
  out.writeUInt16LE(address.family === 4 ? AF_INET : AF_INET6, 0);
  out.writeUInt16BE(port, 2);
  out.set(toBytes(address), address.family === 4 ? 4 : 8);
  if (address.family === 6) out.writeUInt32LE(scope, 24);
  return out;
}
