/** Options of TCP sockets that routing protocols need: shared keys, and how far a packet may have come. */
import fs from 'node:fs';
import { HeddleError } from '../lib/errors.ts';
import { type Family, parseAddress } from '../lib/ip.ts';
import { errnoName, errnoNumbers, lastErrno, libc, systemError } from './ffi.ts';
import { setOption } from './netlink-socket.ts';
import { inNetns, type Netns } from './netns.ts';
import { socketAddress } from './socket-address.ts';

const IPPROTO_TCP = 6;
const TCP_MD5SIG = 14;
const SOCKADDR_STORAGE = 128;
/** Of RFC 2385's keys in Linux. */
export const MAX_MD5_KEY = 80;

/**
 * RFC 2385: segments to and from `peer` carry a digest with `key`, and those without it are dropped unseen. On a
 * listening socket it holds for connections to come; an empty key takes it away.
 * @throws HeddleError `TcpMd5`
 */
export function setTcpMd5(fd: number, peer: string, key: string, scope = 0): void {
  const bytes = Buffer.from(key, 'utf8');
  if (bytes.length > MAX_MD5_KEY)
    throw new HeddleError(
      'TcpMd5',
      `the TCP MD5 key for ${peer} has ${bytes.length} octets, at most ${MAX_MD5_KEY}`,
    );
  // struct tcp_md5sig: sockaddr_storage, flags and prefix length (two octets), key length (two), index (four), key.
  const value = Buffer.alloc(SOCKADDR_STORAGE + 8 + MAX_MD5_KEY);
  value.set(socketAddress(parseAddress(peer), 0, scope), 0);
  value.writeUInt16LE(bytes.length, SOCKADDR_STORAGE + 2);
  value.set(bytes, SOCKADDR_STORAGE + 8);
  if (libc.setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, value, value.length) === 0) return;
  const errno = lastErrno();
  // Taking away what was not there.
  if (bytes.length === 0 && errno === errnoNumbers['ENOENT']) return;
  throw new HeddleError('TcpMd5', `cannot set the TCP MD5 key for ${peer}: ${errnoName(errno)}`, {
    hint:
      errno === errnoNumbers['ENOPROTOOPT'] ? 'this kernel was built without CONFIG_TCP_MD5SIG' : undefined,
  });
}

export interface Ttl {
  /** Time to live or hop limit of what is sent. */
  readonly send?: number;
  /** Least one of what is taken: 255 is a neighbour on the link (RFC 5082). */
  readonly least?: number;
}

export function setTtl(fd: number, family: Family, { send, least }: Ttl): void {
  const [level, ttl, minimum] = family === 4 ? [0, 2, 21] : [41, 16, 73];
  if (send !== undefined && !setOption(fd, level, ttl, send))
    throw systemError(`set the time to live ${send}`);
  if (least !== undefined && !setOption(fd, level, minimum, least))
    throw systemError(`take only a time to live of ${least} and more`);
}

/**
 * Segments of this namespace that the kernel has dropped over RFC 2385, since it was made: without a digest where
 * one is due, with one where none is, with a wrong one. Undefined where the kernel does not count them.
 */
export function tcpMd5Drops(ns: Netns | undefined): number | undefined {
  const read = () => fs.readFileSync('/proc/thread-self/net/netstat', 'latin1');
  const lines = (ns ? inNetns(ns, read) : read()).split('\n');
  const at = lines.findIndex((line) => line.startsWith('TcpExt:'));
  const names = lines[at]?.split(' ') ?? [];
  const values = lines[at + 1]?.split(' ') ?? [];
  const counts = names.flatMap((name, i) => (name.startsWith('TCPMD5') ? [Number(values[i])] : []));
  return counts.length === 0 ? undefined : counts.reduce((sum, count) => sum + count, 0);
}
