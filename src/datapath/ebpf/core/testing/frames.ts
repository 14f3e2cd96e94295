/** Frames of Ethernet for test runs of programs: headers as RFC 791, 8200, 9293, 768, 792, 4443 and 9260 say. */
import { parseAddress, toBytes } from '../../../../lib/ip.ts';

export interface FrameOptions {
  readonly src: string;
  readonly dst: string;
  /** 6, 17, 132, 1 or 58. */
  readonly protocol: number;
  readonly sport: number;
  readonly dport: number;
  /** Default: SYN. */
  readonly tcpFlags?: number;
  /** IPv4 options (a multiple of 4), or IPv6 destination options (8 bytes). */
  readonly withOptions?: boolean;
  /** Which fragment it is, and the number of its datagram. */
  readonly fragment?: { readonly id: number; readonly part: 'first' | 'later' };
  /** Default: a query. */
  readonly icmpReply?: boolean;
  /** Instead of the transport header: ICMP about this frame, destination unreachable. */
  readonly errorAbout?: Buffer;
  readonly ttl?: number;
  /** The sender’s. */
  readonly mac?: string | undefined;
}

const HOST_MAC = '0200000000fe';
const SENDER_MAC = '020000000001';
const SYN = 2;
const DESTINATION_OPTIONS = 60;
const FRAGMENT_HEADER = 44;

export function frame(options: FrameOptions): Buffer {
  const isV6 = options.src.includes(':');
  const sender = (options.mac ?? SENDER_MAC).replaceAll(':', '');
  const ethernet = Buffer.from(`${HOST_MAC}${sender}${isV6 ? '86dd' : '0800'}`, 'hex');
  const body = options.fragment?.part === 'later' ? Buffer.alloc(64) : transport(options);
  return Buffer.concat([ethernet, isV6 ? ipv6(options, body) : ipv4(options, body)]);
}

function ipv4({ src, dst, protocol, withOptions, fragment, ttl = 64 }: FrameOptions, body: Buffer): Buffer {
  const head = Buffer.alloc(withOptions ? 28 : 20);
  head[0] = 0x40 | (head.length / 4);
  head.writeUInt16BE(head.length + body.length, 2);
  if (fragment) {
    head.writeUInt16BE(fragment.id, 4);
    head.writeUInt16BE(fragment.part === 'first' ? 0x2000 : 8, 6);
  }
  head[8] = ttl;
  head[9] = protocol;
  head.set(toBytes(parseAddress(src)), 12);
  head.set(toBytes(parseAddress(dst)), 16);
  // A timestamp with room for nothing, and padding.
  if (withOptions) head.set([68, 4, 5, 0, 1, 1, 1, 0], 20);
  head.writeUInt16BE(checksum(head), 10);
  return Buffer.concat([head, body]);
}

function ipv6({ src, dst, protocol, withOptions, fragment, ttl = 64 }: FrameOptions, body: Buffer): Buffer {
  const extensions: Buffer[] = [];
  let next = protocol;
  if (fragment) {
    const header = Buffer.alloc(8);
    header[0] = next;
    header.writeUInt16BE(fragment.part === 'first' ? 1 : 64, 2);
    header.writeUInt32BE(fragment.id, 4);
    extensions.unshift(header);
    next = FRAGMENT_HEADER;
  }
  if (withOptions) {
    extensions.unshift(Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]));
    next = DESTINATION_OPTIONS;
  }
  const rest = Buffer.concat([...extensions, body]);
  const head = Buffer.alloc(40);
  head[0] = 0x60;
  head.writeUInt16BE(rest.length, 4);
  head[6] = next;
  head[7] = ttl;
  head.set(toBytes(parseAddress(src)), 8);
  head.set(toBytes(parseAddress(dst)), 24);
  return Buffer.concat([head, rest]);
}

function transport({
  protocol,
  sport,
  dport,
  tcpFlags = SYN,
  icmpReply,
  errorAbout,
  src,
}: FrameOptions): Buffer {
  const out = Buffer.alloc(20);
  if (protocol === 1 || protocol === 58) {
    if (errorAbout) {
      out[0] = src.includes(':') ? 1 : 3;
      return Buffer.concat([out.subarray(0, 8), errorAbout.subarray(14, 14 + 128)]);
    }
    out[0] = protocol === 1 ? (icmpReply ? 0 : 8) : icmpReply ? 129 : 128;
    out.writeUInt16BE(sport, 4);
    return out.subarray(0, 8);
  }
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  if (protocol === 6) {
    out[12] = 5 << 4;
    out[13] = tcpFlags;
  } else if (protocol === 17) {
    out.writeUInt16BE(20, 4);
  }
  return out;
}

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
