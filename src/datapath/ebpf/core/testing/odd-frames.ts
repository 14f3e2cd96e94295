/** UDP in headers that few send: options of IPv4, extension headers of IPv6, little time to live. With all checksums. */
import { parseAddress, toBytes } from '../../../../lib/ip.ts';
import { checksum, transportSum } from './fragments.ts';

export interface OddFrame {
  readonly src: string;
  readonly dst: string;
  /** Of the pod's own end. */
  readonly mac: string;
  /** Default: the host's end of the pod's link. */
  readonly to?: string;
  readonly sport?: number;
  readonly dport: number;
  readonly payload?: string;
  /** IPv4: a multiple of 4 bytes. */
  readonly options?: Buffer;
  /** IPv6, in their order: number, and the header with anything in its first byte. */
  readonly extensions?: readonly (readonly [number, Buffer])[];
  readonly ttl?: number;
}

const HOST_MAC = '02:00:00:00:00:fe';
const UDP = 17;
const hexOf = (mac: string): string => mac.replaceAll(':', '');

export function oddFrame(odd: OddFrame): Buffer {
  const { src, dst, to = HOST_MAC, mac } = odd;
  const isV6 = src.includes(':');
  const ethernet = Buffer.from(`${hexOf(to)}${hexOf(mac)}${isV6 ? '86dd' : '0800'}`, 'hex');
  const body = datagram(odd);
  body.writeUInt16BE(transportSum(src, dst, UDP, body), 6);
  return Buffer.concat([ethernet, isV6 ? ipv6(odd, body) : ipv4(odd, body)]);
}

function datagram({ sport = 50_000, dport, payload = 'odd!' }: OddFrame): Buffer {
  const data = Buffer.from(payload.padEnd(payload.length + (payload.length % 2)));
  const out = Buffer.concat([Buffer.alloc(8), data]);
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  out.writeUInt16BE(out.length, 4);
  return out;
}

function ipv4({ src, dst, options = Buffer.alloc(0), ttl = 64 }: OddFrame, body: Buffer): Buffer {
  const head = Buffer.concat([Buffer.alloc(20), options]);
  head[0] = 0x40 | (head.length / 4);
  head.writeUInt16BE(head.length + body.length, 2);
  head[8] = ttl;
  head[9] = UDP;
  head.set(toBytes(parseAddress(src)), 12);
  head.set(toBytes(parseAddress(dst)), 16);
  head.writeUInt16BE(checksum(head), 10);
  return Buffer.concat([head, body]);
}

function ipv6({ src, dst, extensions = [], ttl = 64 }: OddFrame, body: Buffer): Buffer {
  const chain = extensions.map(([, bytes], i) => {
    const copy = Buffer.from(bytes);
    copy[0] = extensions[i + 1]?.[0] ?? UDP;
    return copy;
  });
  const rest = Buffer.concat([...chain, body]);
  const head = Buffer.alloc(40);
  head[0] = 0x60;
  head.writeUInt16BE(rest.length, 4);
  head[6] = extensions[0]?.[0] ?? UDP;
  head[7] = ttl;
  head.set(toBytes(parseAddress(src)), 8);
  head.set(toBytes(parseAddress(dst)), 24);
  return Buffer.concat([head, rest]);
}
