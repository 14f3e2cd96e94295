/**
 * Probes of the path to another node, and their answers: UDP datagrams. A probe is as long as it says; the answer is
 * always short, so that a path is tried in one direction, and nobody can make a node send more than it was sent.
 *
 *   magic u32 · version u8 · kind u8 (1 probe, 2 answer) · length u16 of the IP packet · token 8 bytes · zeros
 */

/** On every node, at its own addresses and at the first of each of its pod ranges. */
export const PROBE_PORT = 7248;

const MAGIC = 0x48645062;
const VERSION = 1;
const HEADER = 16;
const UDP = 8;
const IP = { 4: 20, 6: 40 } as const;
const KIND = { probe: 1, answer: 2 } as const;

export type Family = 4 | 6;

export interface PathMessage {
  readonly kind: keyof typeof KIND;
  /** Of the whole IP packet, as sent. */
  readonly length: number;
  readonly token: bigint;
}

/** The least that a probe can be, as an IP packet. */
export const leastProbe = (family: Family): number => IP[family] + UDP + HEADER;

/** Payload of a UDP datagram whose IP packet has `length` bytes. */
export function encodeProbe(length: number, token: bigint, family: Family): Buffer {
  const payload = Buffer.alloc(Math.max(HEADER, length - IP[family] - UDP));
  return write(payload, 'probe', length, token);
}

export const encodeAnswer = ({ length, token }: PathMessage): Buffer =>
  write(Buffer.alloc(HEADER), 'answer', length, token);

function write(payload: Buffer, kind: keyof typeof KIND, length: number, token: bigint): Buffer {
  payload.writeUInt32BE(MAGIC, 0);
  payload.writeUInt8(VERSION, 4);
  payload.writeUInt8(KIND[kind], 5);
  payload.writeUInt16BE(length, 6);
  payload.writeBigUInt64BE(token, 8);
  return payload;
}

/** Undefined for what is none: anybody may send here. */
export function decodeMessage(payload: Buffer): PathMessage | undefined {
  if (payload.length < HEADER || payload.readUInt32BE(0) !== MAGIC || payload[4] !== VERSION)
    return undefined;
  const kind = payload[5] === KIND.probe ? 'probe' : payload[5] === KIND.answer ? 'answer' : undefined;
  if (kind === undefined) return undefined;
  return { kind, length: payload.readUInt16BE(6), token: payload.readBigUInt64BE(8) };
}
