/** Draws through the loaded connect programs: a UDP socket that connects sends nothing, and its backend is on record. */
import fs from 'node:fs';
import { errnoName, lastErrno, libc } from '../../../../kernel/ffi.ts';
import { inNetns, type Netns } from '../../../../kernel/netns.ts';
import { addressBytes, addressText, swapPort } from '../address-bytes.ts';
import { connectedSockets } from '../connected.ts';
import type { Programs } from '../../loader.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_COOKIE = 57;

export interface Draw {
  /** `10.0.0.1|80` */
  readonly backend?: string;
  readonly why?: string;
}

export function sockaddr(address: string, port: number): Uint8Array {
  const isV6 = address.includes(':');
  const out = Buffer.alloc(isV6 ? 28 : 16);
  out.writeUInt16LE(isV6 ? AF_INET6 : AF_INET, 0);
  out.writeUInt16BE(port, 2);
  out.set(isV6 ? addressBytes(address) : addressBytes(address).subarray(12), isV6 ? 8 : 4);
  return out;
}

/** `connect` of new sockets, or of one again and again. */
export function createDraws(programs: Programs, ns: Netns) {
  const connected = connectedSockets(programs);
  const backends = programs.map('backends');
  const backend = programs.codec<{ address: Uint8Array; port: number }>('struct backend');

  function open(address: string): number {
    const family = address.includes(':') ? AF_INET6 : AF_INET;
    const fd = inNetns(ns, () => libc.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd < 0) throw new Error(`socket: ${errnoName(lastErrno())}`);
    return fd;
  }

  function connect(fd: number, address: string, port: number): Draw {
    const target = sockaddr(address, port);
    if (libc.connect(fd, target, target.length) !== 0) return { why: errnoName(lastErrno()) };
    const cookie = Buffer.alloc(8);
    libc.getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, Buffer.from([8, 0, 0, 0]));
    const record = connected.of(cookie.readBigUInt64LE());
    if (!record) return { why: 'not translated' };
    const value = backends.lookup(new Uint8Array(Uint32Array.of(record.number).buffer));
    if (!value) return { why: `no backend ${record.number}` };
    const found = backend.decode(value);
    return { backend: `${addressText(found.address)}|${swapPort(found.port)}` };
  }

  return {
    open,
    connect,
    close: (fd: number) => fs.closeSync(fd),
    once(address: string, port: number): Draw {
      const fd = open(address);
      try {
        return connect(fd, address, port);
      } finally {
        fs.closeSync(fd);
      }
    },
    /** How often which backend (or error) came of `count` sockets. */
    many(address: string, port: number, count: number): Map<string, number> {
      const seen = new Map<string, number>();
      for (let i = 0; i < count; i++) {
        const { backend: name, why } = this.once(address, port);
        const key = name ?? why ?? '';
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
      return seen;
    },
  };
}
