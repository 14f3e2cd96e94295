/** Single fragments of IPv4 and IPv6 with checksums, as a pod writes them to its link. */
import { parseAddress, toBytes } from '../../../../lib/ip.ts';

export interface FragmentOptions {
  readonly src: string;
  readonly dst: string;
  /** Of the pod's own end. */
  readonly mac: string;
  readonly protocol: number;
  readonly id: number;
  /** Bytes, a multiple of 8. */
  readonly offset: number;
  readonly more: boolean;
  readonly body: Buffer;
}

const HOST_MAC = '0200000000fe';
const FRAGMENT_HEADER = 44;

export function fragmentFrame(options: FragmentOptions): Buffer {
  const isV6 = options.src.includes(':');
  const ethernet = `${HOST_MAC}${options.mac.replaceAll(':', '')}${isV6 ? '86dd' : '0800'}`;
  return Buffer.concat([Buffer.from(ethernet, 'hex'), isV6 ? ipv6(options) : ipv4(options), options.body]);
}

function ipv4({ src, dst, protocol, id, offset, more, body }: FragmentOptions): Buffer {
  const head = Buffer.alloc(20);
  head[0] = 0x45;
  head.writeUInt16BE(20 + body.length, 2);
  head.writeUInt16BE(id, 4);
  head.writeUInt16BE((more ? 0x2000 : 0) | (offset / 8), 6);
  head[8] = 64;
  head[9] = protocol;
  head.set(toBytes(parseAddress(src)), 12);
  head.set(toBytes(parseAddress(dst)), 16);
  head.writeUInt16BE(checksum(head), 10);
  return head;
}

function ipv6({ src, dst, protocol, id, offset, more, body }: FragmentOptions): Buffer {
  const head = Buffer.alloc(48);
  head[0] = 0x60;
  head.writeUInt16BE(8 + body.length, 4);
  head[6] = FRAGMENT_HEADER;
  head[7] = 64;
  head.set(toBytes(parseAddress(src)), 8);
  head.set(toBytes(parseAddress(dst)), 24);
  head[40] = protocol;
  head.writeUInt16BE(offset | (more ? 1 : 0), 42);
  head.writeUInt32BE(id, 44);
  return head;
}

/** Of TCP or UDP: header and payload in `body`, whose own field is 0. */
export function transportSum(src: string, dst: string, protocol: number, body: Buffer): number {
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(body.length, 0);
  rest.writeUInt32BE(protocol, 4);
  return checksum(Buffer.concat([toBytes(parseAddress(src)), toBytes(parseAddress(dst)), rest, body]));
}

/** RFC 1071; of an even number of bytes. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
