/**
 * Netlink's wire format (RFC 3549, linux/netlink.h): messages of a 16-byte header, a fixed body and
 * attributes, everything aligned to four bytes, numbers in host order. Host order is little-endian on both
 * architectures that Heddle runs on.
 */

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
/** Of an acknowledgement: the request is not repeated in it; attributes follow. */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;

const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER = 16;

const align = (length: number): number => (length + 3) & ~3;

export function attribute(type: number, data: Uint8Array): Buffer {
  const out = Buffer.alloc(align(4 + data.length));
  out.writeUInt16LE(4 + data.length, 0);
  out.writeUInt16LE(type, 2);
  out.set(data, 4);
  return out;
}

export const nested = (type: number, parts: readonly Uint8Array[]): Buffer =>
  attribute(type | NESTED, Buffer.concat(parts));

/** Some old corners of rtnetlink compare the type as it stands and refuse the NESTED bit. */
export const nestedPlain = (type: number, parts: readonly Uint8Array[]): Buffer =>
  attribute(type, Buffer.concat(parts));

export const u8 = (type: number, value: number): Buffer => attribute(type, Uint8Array.of(value));

export const u16 = (type: number, value: number): Buffer =>
  attribute(type, Uint8Array.of(value & 255, value >> 8));

export function u16be(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value >> 8, value & 255));
}

export function u32(type: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value >>> 0);
  return attribute(type, data);
}

export function u32be(type: number, value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value >>> 0);
  return attribute(type, data);
}

/** NUL-terminated. */
export const text = (type: number, value: string): Buffer => attribute(type, Buffer.from(`${value}\0`));

export interface Request {
  readonly type: number;
  /** NLM_F_REQUEST is added always, NLM_F_ACK for what is not a dump. */
  readonly flags: number;
  /** The fixed body (ifinfomsg and the like), then attributes. */
  readonly parts: readonly Uint8Array[];
  /** For errors: "add link vxlan0". */
  readonly what: string;
}

export function encodeMessage(request: Request, sequence: number, flags: number): Buffer {
  const bodies = request.parts.map((part) => align(part.length));
  const out = Buffer.alloc(HEADER + bodies.reduce((sum, length) => sum + length, 0));
  out.writeUInt32LE(out.length, 0);
  out.writeUInt16LE(request.type, 4);
  out.writeUInt16LE(request.flags | NLM_F_REQUEST | flags, 6);
  out.writeUInt32LE(sequence, 8);
  let offset = HEADER;
  for (const [i, part] of request.parts.entries()) {
    out.set(part, offset);
    offset += bodies[i] ?? 0;
  }
  return out;
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Without the header; shares the memory it was parsed from. */
  readonly body: Buffer;
}

/** Stops at the first header that does not fit: a cut datagram gives what is whole. */
export function parseMessages(data: Buffer): Message[] {
  const messages: Message[] = [];
  for (let offset = 0; offset + HEADER <= data.length; ) {
    const length = data.readUInt32LE(offset);
    if (length < HEADER || offset + length > data.length) break;
    messages.push({
      type: data.readUInt16LE(offset + 4),
      flags: data.readUInt16LE(offset + 6),
      sequence: data.readUInt32LE(offset + 8),
      body: data.subarray(offset + HEADER, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

export type Attributes = ReadonlyMap<number, Buffer>;

/** The last one wins where a type is repeated; malformed rest is left out. */
export function parseAttributes(data: Buffer, from = 0): Attributes {
  const attributes = new Map<number, Buffer>();
  for (let offset = from; offset + 4 <= data.length; ) {
    const length = data.readUInt16LE(offset);
    if (length < 4 || offset + length > data.length) break;
    attributes.set(data.readUInt16LE(offset + 2) & TYPE_MASK, data.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return attributes;
}

/** Text of an attribute, without its NUL. */
export function textOf(data: Buffer | undefined): string | undefined {
  if (!data) return undefined;
  const end = data.indexOf(0);
  return data.toString('utf8', 0, end < 0 ? data.length : end);
}

export const u32Of = (data: Buffer | undefined): number | undefined =>
  data && data.length >= 4 ? data.readUInt32LE(0) : undefined;

export interface Acknowledgement {
  /** 0 is success, else a positive errno. */
  readonly errno: number;
  /** The kernel's own words, where it had any. */
  readonly words: string | undefined;
}

export function parseAcknowledgement(message: Message): Acknowledgement {
  const { body, flags } = message;
  if (body.length < 4) return { errno: 0, words: undefined };
  const errno = -body.readInt32LE(0);
  if (!(flags & NLM_F_ACK_TLVS)) return { errno, words: undefined };
  if (message.type === NLMSG_DONE)
    return { errno, words: textOf(parseAttributes(body, 4).get(NLMSGERR_ATTR_MSG)) };
  const requestLength = body.length >= 8 ? body.readUInt32LE(4) : 0;
  const start = 4 + (flags & NLM_F_CAPPED ? HEADER : align(requestLength));
  return { errno, words: textOf(parseAttributes(body, start).get(NLMSGERR_ATTR_MSG)) };
}
