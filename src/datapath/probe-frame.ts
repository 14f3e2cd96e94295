/**
 * The packet of a dry run: the first of a connection, made up. Its IP header has an option (IPv4: no operation, IPv6:
 * padding) that means nothing, so that no program takes its short way, which counts. Pure.
 */
import { parseAddress, toBytes } from '../lib/ip.ts';
import type { ProbePacket } from './backend.ts';

const [ICMP, TCP, UDP, ICMPV6, SCTP] = [1, 6, 17, 58, 132];
const DESTINATION_OPTIONS = 60;
const TTL = 64;
/** Room for what programs write over it, see `struct dry_answer`. */
const PAYLOAD = 96;

type Ends = Pick<ProbePacket, 'src' | 'dst' | 'sport' | 'dport' | 'protocol'>;

/** From the Ethernet header on, to the link's address `mac`. Sums of the transport are left out: it meets no one who would ask. */
export function probeFrame(packet: Ends, mac = ''): Uint8Array {
  const isV6 = packet.src.includes(':');
  const ethernet = Buffer.alloc(14);
  ethernet.write(mac.replaceAll(':', ''), 'hex');
  ethernet.writeUInt16BE(isV6 ? 0x86dd : 0x0800, 12);
  const body = Buffer.concat([transport(packet), Buffer.alloc(PAYLOAD)]);
  return new Uint8Array(Buffer.concat([ethernet, isV6 ? ipv6(packet, body) : ipv4(packet, body)]));
}

/** RFC 791 */
function ipv4({ src, dst, protocol }: Ends, body: Buffer): Buffer {
  const head = Buffer.alloc(24);
  head[0] = 0x46;
  head.writeUInt16BE(head.length + body.length, 2);
  head[8] = TTL;
  head[9] = protocol;
  head.set(toBytes(parseAddress(src)), 12);
  head.set(toBytes(parseAddress(dst)), 16);
  head.set([1, 1, 1, 0], 20);
  head.writeUInt16BE(checksum(head), 10);
  return Buffer.concat([head, body]);
}

/** RFC 8200 */
function ipv6({ src, dst, protocol }: Ends, body: Buffer): Buffer {
  const head = Buffer.alloc(48);
  head[0] = 0x60;
  head.writeUInt16BE(8 + body.length, 4);
  head[6] = DESTINATION_OPTIONS;
  head[7] = TTL;
  head.set(toBytes(parseAddress(src)), 8);
  head.set(toBytes(parseAddress(dst)), 24);
  head.set([protocol, 0, 1, 4], 40);
  return Buffer.concat([head, body]);
}

function transport({ protocol, sport, dport }: Ends): Buffer {
  if (protocol === ICMP || protocol === ICMPV6) {
    const echo = Buffer.alloc(8);
    echo[0] = protocol === ICMP ? 8 : 128;
    echo.writeUInt16BE(sport, 4);
    return echo;
  }
  const out = Buffer.alloc(protocol === UDP ? 8 : protocol === SCTP ? 16 : 20);
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  if (protocol === TCP) out.set([0x50, 0x02], 12);
  if (protocol === UDP) out.writeUInt16BE(out.length + PAYLOAD, 4);
  // INIT, RFC 9260 section 3.3.2.
  if (protocol === SCTP) out.set([1, 0, 0, 4 + PAYLOAD], 12);
  return out;
}

/** RFC 1071 */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
