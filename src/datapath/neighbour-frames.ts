/** Who has an address, asked and answered on Ethernet: ARP (RFC 826) and Neighbour Discovery (RFC 4861). Pure. */
import { type Address, type Family, fromBytes, toBytes } from '../lib/ip.ts';

export const ETH_ARP = 0x0806;
export const ETH_IPV6 = 0x86dd;

const BROADCAST = Buffer.alloc(6, 0xff);
const ALL_NODES: Address = { family: 6, value: (0xff02n << 112n) | 1n };
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex');
const ICMPV6 = 58;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
/** RFC 4861, 4.4: the answer to a question, and one that replaces what was known. */
const SOLICITED = 0x4000_0000;
const OVERRIDE = 0x2000_0000;

export interface Question {
  readonly family: Family;
  readonly target: Address;
  /** Who asks; of IPv6 `::` where somebody looks whether the address is free. */
  readonly sender: Address;
  readonly senderMac: Buffer;
}

/** Lets through solicitations only, so that no other IPv6 traffic wakes us: from the Ethernet header on. */
export const SOLICITATION_FILTER = [
  [0x30, 0, 0, 20],
  [0x15, 0, 3, ICMPV6],
  [0x30, 0, 0, 54],
  [0x15, 0, 1, SOLICITATION],
  [0x06, 0, 0, 0xffff],
  [0x06, 0, 0, 0],
] as const;

/** Undefined for whatever is no question. */
export function parseQuestion(frame: Uint8Array): Question | undefined {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
  if (bytes.length < 14) return undefined;
  const type = bytes.readUInt16BE(12);
  if (type === ETH_ARP) return parseArp(bytes);
  return type === ETH_IPV6 ? parseSolicitation(bytes) : undefined;
}

function parseArp(frame: Buffer): Question | undefined {
  if (frame.length < 42) return undefined;
  // Ethernet and IPv4, with their sizes; 1: a request.
  if (frame.subarray(14, 22).toString('hex') !== '0001080006040001') return undefined;
  return {
    family: 4,
    target: fromBytes(frame.subarray(38, 42)),
    sender: fromBytes(frame.subarray(28, 32)),
    senderMac: Buffer.from(frame.subarray(22, 28)),
  };
}

function parseSolicitation(frame: Buffer): Question | undefined {
  if (frame.length < 78 || frame[20] !== ICMPV6 || frame[54] !== SOLICITATION || frame[55] !== 0)
    return undefined;
  // RFC 4861, 7.1.1: a smaller one came from another link.
  if (frame[21] !== 255) return undefined;
  return {
    family: 6,
    target: fromBytes(frame.subarray(62, 78)),
    sender: fromBytes(frame.subarray(22, 38)),
    senderMac: Buffer.from(frame.subarray(6, 12)),
  };
}

export function answerTo(question: Question, mac: Buffer): Buffer {
  const { family, target, sender, senderMac } = question;
  if (family === 4) return arp(2, { mac, address: target }, { mac: senderMac, address: sender }, senderMac);
  // RFC 4861, 7.2.4: nobody can be answered at the unspecified address.
  if (sender.value === 0n) return advertisement(target, mac, ALL_NODES, ALL_NODES_MAC, OVERRIDE);
  return advertisement(target, mac, sender, senderMac, (SOLICITED | OVERRIDE) >>> 0);
}

/** What makes everybody on the link forget who had the address before. */
export function announcement(address: Address, mac: Buffer): Buffer {
  if (address.family === 6) return advertisement(address, mac, ALL_NODES, ALL_NODES_MAC, OVERRIDE);
  // RFC 5227, 3: a request for the own address, which every system learns from.
  return arp(1, { mac, address }, { mac: Buffer.alloc(6), address }, BROADCAST);
}

interface End {
  readonly mac: Buffer;
  readonly address: Address;
}

function arp(operation: 1 | 2, sender: End, target: End, to: Buffer): Buffer {
  const frame = Buffer.alloc(42);
  to.copy(frame, 0);
  sender.mac.copy(frame, 6);
  frame.writeUInt16BE(ETH_ARP, 12);
  frame.write('000108000604', 14, 'hex');
  frame.writeUInt16BE(operation, 20);
  sender.mac.copy(frame, 22);
  frame.set(toBytes(sender.address), 28);
  target.mac.copy(frame, 32);
  frame.set(toBytes(target.address), 38);
  return frame;
}

function advertisement(target: Address, mac: Buffer, to: Address, toMac: Buffer, flags: number): Buffer {
  const frame = Buffer.alloc(86);
  toMac.copy(frame, 0);
  mac.copy(frame, 6);
  frame.writeUInt16BE(ETH_IPV6, 12);
  frame[14] = 6 << 4;
  frame.writeUInt16BE(32, 18);
  frame[20] = ICMPV6;
  frame[21] = 255;
  frame.set(toBytes(target), 22);
  frame.set(toBytes(to), 38);
  frame[54] = ADVERTISEMENT;
  frame.writeUInt32BE(flags, 58);
  frame.set(toBytes(target), 62);
  // Option 2, target link-layer address, in units of eight bytes.
  frame.set([2, 1], 78);
  mac.copy(frame, 80);
  frame.writeUInt16BE(checksum(frame), 56);
  return frame;
}

/** RFC 4443, 2.3: over the addresses, the length, the protocol and the message. */
function checksum(frame: Buffer): number {
  let sum = frame.readUInt16BE(18) + ICMPV6;
  for (let at = 22; at < frame.length; at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}
