/** Ethernet, IPv4 and UDP around a DHCP message: a client without an address cannot use a socket of UDP. */
import { parseAddress, toBytes } from '../../../lib/ip.ts';
import type { Filter } from '../../../kernel/packet-socket.ts';
import { macBytes } from './message.ts';

export const IPV4 = 0x0800;
export const EVERYBODY = { mac: 'ff:ff:ff:ff:ff:ff', address: '255.255.255.255' } as const;
const UDP = 17;
const CLIENT = 68;
const SERVER = 67;
const ETHERNET = 14;

/** UDP to port 68, and no later fragments. */
export const TO_CLIENT: Filter = [
  [0x30, 0, 0, 23],
  [0x15, 0, 6, UDP],
  [0x28, 0, 0, 20],
  [0x45, 4, 0, 0x1fff],
  [0xb1, 0, 0, ETHERNET],
  [0x48, 0, 0, 16],
  [0x15, 0, 1, CLIENT],
  [0x06, 0, 0, 0x40000],
  [0x06, 0, 0, 0],
];

export interface Ends {
  readonly mac: string;
  readonly address: string;
}

export function toServer(from: Ends, to: Ends, message: Uint8Array): Buffer {
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(CLIENT, 0);
  udp.writeUInt16BE(SERVER, 2);
  udp.writeUInt16BE(8 + message.length, 4);
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(28 + message.length, 2);
  ip[8] = 64;
  ip[9] = UDP;
  ip.set(toBytes(parseAddress(from.address)), 12);
  ip.set(toBytes(parseAddress(to.address)), 16);
  ip.writeUInt16BE(checksum([ip]), 10);
  const pseudo = Buffer.concat([ip.subarray(12, 20), Buffer.from([0, UDP]), udp.subarray(4, 6)]);
  const sum = checksum([pseudo, udp, message]);
  udp.writeUInt16BE(sum === 0 ? 0xffff : sum, 6);
  const ethernet = Buffer.concat([macBytes(to.mac), macBytes(from.mac), Buffer.from([0x08, 0x00])]);
  return Buffer.concat([ethernet, ip, udp, message]);
}

/** RFC 1071, over parts of which all but the last are of even length. */
function checksum(parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** The message, and who sent the frame; undefined where it is none. Checksums are the link's business. */
export function fromServer(frame: Buffer): { message: Buffer; mac: string } | undefined {
  const ip = frame.subarray(ETHERNET);
  const head = ((ip[0] ?? 0) & 0x0f) * 4;
  if (ip.length < 20 || (ip[0] ?? 0) >> 4 !== 4 || head < 20 || ip[9] !== UDP) return undefined;
  const udp = ip.subarray(head, Math.min(ip.length, ip.readUInt16BE(2)));
  if (udp.length < 8 || udp.readUInt16BE(0) !== SERVER || udp.readUInt16BE(2) !== CLIENT) return undefined;
  const length = udp.readUInt16BE(4);
  if (length < 8 || length > udp.length) return undefined;
  const mac = [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  return { message: udp.subarray(8, length), mac };
}
