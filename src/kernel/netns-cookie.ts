/** The number by which programs in the kernel know a network namespace (`bpf_get_netns_cookie`). */
import fs from 'node:fs';
import { libc, systemError } from './ffi.ts';
import { inNetns, type Netns } from './netns.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
/** From Linux 5.14. */
const SO_NETNS_COOKIE = 71;

/** One for as long as the namespace lives, and no other's until the machine restarts. @throws HeddleError `Kernel` */
export function netnsCookie(ns: Netns): bigint {
  const fd = inNetns(ns, () => libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd < 0) throw systemError(`open a socket in ${ns.path}`);
  try {
    const value = Buffer.alloc(8);
    const length = Buffer.from([8, 0, 0, 0]);
    if (libc.getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, value, length) !== 0)
      throw systemError(`read the cookie of ${ns.path}`);
    return value.readBigUInt64LE();
  } finally {
    fs.closeSync(fd);
  }
}
