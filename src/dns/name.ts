/**
 * Domain names (RFC 1035 sections 3.1, 4.1.4). As text a name has no dot at its end, the root is the empty
 * text, and bytes that are no printable ASCII, dots and backslashes in a label are escaped (section 5.1),
 * so any bytes survive.
 */

/** A message, or a part of it, that is not well-formed. */
export class FormatError extends Error {}
/** What is being written does not fit the limit. */
export class Overflow extends Error {}

export interface Cursor {
  readonly bytes: Buffer;
  pos: number;
}

export interface Writer {
  readonly bytes: Buffer;
  pos: number;
  /** No byte is written at or behind it. */
  limit: number;
  /** Offsets of the names and their tails written so far, by lower-case text. */
  readonly names: Map<string, number>;
}

const MAX_NAME = 255;
const MAX_LABEL = 63;
const POINTER = 0xc0;
const DOT = 0x2e;
const BACKSLASH = 0x5c;

/** Pointers must lead back, each further than the one before: no loop, and at most one pass over the message. */
export function readName(cursor: Cursor): string {
  const { bytes } = cursor;
  let at = cursor.pos;
  let barrier = at;
  let end = -1;
  let size = 1;
  let name = '';
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw new FormatError('a name is cut off');
    if (length === 0) break;
    if (length >= POINTER) {
      const low = bytes[at + 1];
      if (low === undefined) throw new FormatError('a compression pointer is cut off');
      if (end < 0) end = at + 2;
      at = ((length & 0x3f) << 8) | low;
      if (at >= barrier) throw new FormatError('a compression pointer does not lead back');
      barrier = at;
      continue;
    }
    if (length > MAX_LABEL) throw new FormatError('a label has an unknown type');
    size += length + 1;
    if (size > MAX_NAME) throw new FormatError('a name is longer than 255 bytes');
    if (at + 1 + length > bytes.length) throw new FormatError('a label is cut off');
    const label = labelText(bytes, at + 1, at + 1 + length);
    name = name === '' ? label : `${name}.${label}`;
    at += 1 + length;
  }
  cursor.pos = end < 0 ? at + 1 : end;
  return name;
}

function labelText(bytes: Buffer, start: number, end: number): string {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte <= 0x20 || byte >= 0x7f || byte === DOT || byte === BACKSLASH)
      return Array.from(bytes.subarray(start, end), escapeByte).join('');
  }
  return bytes.toString('latin1', start, end);
}

function escapeByte(byte: number): string {
  if (byte === DOT || byte === BACKSLASH) return `\\${String.fromCharCode(byte)}`;
  if (byte > 0x20 && byte < 0x7f) return String.fromCharCode(byte);
  return `\\${String(byte).padStart(3, '0')}`;
}

/** Writes `name`, by pointer where it or a tail of it is in the message already. */
export function writeName(writer: Writer, name: string): void {
  const lower = name.toLowerCase();
  for (let start = 0; start < name.length; ) {
    const tail = lower.slice(start);
    const known = writer.names.get(tail);
    if (known !== undefined) return writePointer(writer, known);
    if (writer.pos < 0x4000) writer.names.set(tail, writer.pos);
    const end = labelEnd(name, start);
    writeLabel(writer, name, start, end);
    start = end + 1;
  }
  room(writer, 1);
  writer.bytes[writer.pos++] = 0;
}

function writePointer(writer: Writer, offset: number): void {
  room(writer, 2);
  writer.bytes[writer.pos++] = POINTER | (offset >> 8);
  writer.bytes[writer.pos++] = offset & 255;
}

/** Where the label's dot, or the end of the name, is; an escaped dot is none. */
function labelEnd(name: string, start: number): number {
  for (let i = start; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === DOT) return i;
  }
  return name.length;
}

function writeLabel(writer: Writer, name: string, start: number, end: number): void {
  const text = name.slice(start, end);
  const plain = text.includes('\\') ? unescape(text) : text;
  if (plain.length === 0 || plain.length > MAX_LABEL)
    throw new FormatError(`"${name}" has a label that is empty or longer than 63 bytes`);
  room(writer, 1 + plain.length);
  writer.bytes[writer.pos] = plain.length;
  writer.bytes.write(plain, writer.pos + 1, 'latin1');
  writer.pos += 1 + plain.length;
}

const unescape = (text: string): string =>
  text.replace(/\\(\d{3}|.)/g, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number(code) & 255) : code,
  );

/** @throws Overflow where `bytes` more do not fit */
export function room(writer: Writer, bytes: number): void {
  if (writer.pos + bytes > writer.limit) throw new Overflow('the message is full');
}
