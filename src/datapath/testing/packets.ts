/** Single packets for tests: sent from a namespace, and seen by a witness where they arrive. */
import fs from 'node:fs';
import type { TestContext } from 'node:test';
import { libc, systemError } from '../../kernel/ffi.ts';
import { inNetns, type Netns } from '../../kernel/netns.ts';
import { openNflog } from '../../kernel/nflog.ts';
import { openNft } from '../../kernel/nft.ts';
import { bindUdp, connectTcp } from '../../kernel/sockets.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import { type PacketFlow, parsePacket } from '../packet.ts';
import { patience } from './pace.ts';

const WITNESS_GROUP = 101;
const SOCK_RAW = 3;
export const ICMP = { 4: 1, 6: 58 } as const;

/** One packet of `flow` that opens a connection. TCP repeats it until `signal`. */
export function sendPacket(ns: Netns, flow: PacketFlow, signal: AbortSignal): void {
  const { src, dst, sport, dport } = flow;
  if (flow.protocol === 6)
    void connectTcp(ns, {
      host: dst,
      port: dport,
      localAddress: src,
      localPort: sport,
      signal,
      timeoutMs: 30_000,
    })
      .then((socket) => socket.destroy())
      .catch(() => {});
  else if (flow.protocol === 17) sendOn(bindUdp(ns, src, sport), flow, Buffer.from('?'));
  else sendOn(rawSocket(ns, flow), flow, echoRequest(flow.family, sport));
}

function rawSocket(ns: Netns, { family, protocol }: PacketFlow): number {
  const fd = inNetns(ns, () => libc.socket(family === 4 ? 2 : 10, SOCK_RAW, protocol));
  if (fd < 0) throw systemError('open a raw socket');
  return fd;
}

/** struct sockaddr_in or sockaddr_in6 */
export function socketAddress(text: string, port: number): Buffer {
  const address = parseAddress(text);
  const out = Buffer.alloc(address.family === 4 ? 16 : 28);
  out.writeUInt16LE(address.family === 4 ? 2 : 10, 0);
  out.writeUInt16BE(port, 2);
  out.set(toBytes(address), address.family === 4 ? 4 : 8);
  return out;
}

function sendOn(fd: number, { src, dst, dport, protocol }: PacketFlow, data: Buffer): void {
  try {
    const from = socketAddress(src, 0);
    if (protocol !== 17 && libc.bind(fd, from, from.length) !== 0) throw systemError(`bind to ${src}`);
    const address = socketAddress(dst, protocol === 17 ? dport : 0);
    if (libc.connect(fd, address, address.length) !== 0) throw systemError(`connect to ${dst}`);
    if (libc.send(fd, data, data.length, 0) < 0) throw systemError(`send to ${dst}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** RFC 792, RFC 4443; the kernel fills in the checksum of ICMPv6. */
function echoRequest(family: 4 | 6, id: number): Buffer {
  const out = Buffer.alloc(8);
  out[0] = family === 4 ? 8 : 128;
  out.writeUInt16BE(id, 4);
  if (family === 6) return out;
  const sum = 0x0800 + id;
  out.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 2);
  return out;
}

/** Reports packets that reach the sockets of `ns` and open something: no replies, no errors. */
export function witness(
  t: Pick<TestContext, 'after'>,
  ns: Netns,
  onArrival: (flow: PacketFlow) => void,
): void {
  const nft = openNft(ns);
  const log = `log prefix "witness" group ${WITNESS_GROUP} snaplen 96`;
  nft.run(`add table inet witness
add chain inet witness input { type filter hook input priority -300; policy accept; }
add rule inet witness input tcp flags & (syn|ack) == syn ${log}
add rule inet witness input meta l4proto udp ${log}
add rule inet witness input icmp type echo-request ${log}
add rule inet witness input icmpv6 type echo-request ${log}`);
  const nflog = openNflog({
    ns,
    group: WITNESS_GROUP,
    onPackets(packets) {
      for (const packet of packets) {
        const flow = parsePacket(packet.payload);
        if (flow) onArrival(flow);
      }
    },
  });
  t.after(() => {
    nflog.close();
    nft.close();
  });
}

/** Resolves when `done` says so, asked after each turn of the loop that brought something; else rejects. */
export async function settled(
  done: () => boolean,
  what: () => string,
  timeoutMs = 30_000 * patience,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!done()) {
    if (performance.now() > end) throw new Error(`still waiting for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
