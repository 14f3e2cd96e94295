/** Resource records: the types that Heddle reads and writes; others pass through as bytes (RFC 3597). */
import { type Cursor, FormatError, readName, room, type Writer, writeName } from './name.ts';

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

export const CLASS_IN = 1;
export const CLASS_ANY = 255;

export type RecordData =
  /** 4 bytes for A, 16 for AAAA, in network order. */
  | { readonly type: 'A' | 'AAAA'; readonly address: Uint8Array }
  | { readonly type: 'NS' | 'CNAME' | 'PTR'; readonly target: string }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | {
      readonly type: 'SOA';
      readonly mname: string;
      readonly rname: string;
      readonly serial: number;
      /** Seconds, like the three that follow; the last is how long "no" may be remembered. */
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      readonly minimum: number;
    }
  | { readonly type: 'TXT'; readonly texts: readonly Uint8Array[] }
  | { readonly type: number; readonly data: Uint8Array };

export type ResourceRecord = RecordData & {
  readonly name: string;
  /** Default 1, the Internet. */
  readonly class?: number;
  /** Seconds. */
  readonly ttl: number;
};

export const typeNumber = (record: RecordData): number =>
  typeof record.type === 'number' ? record.type : TYPE[record.type];

export function readRecord(cursor: Cursor): ResourceRecord & { readonly class: number } {
  const name = readName(cursor);
  const { bytes } = cursor;
  if (cursor.pos + 10 > bytes.length) throw new FormatError('a record is cut off');
  const type = bytes.readUInt16BE(cursor.pos);
  const recordClass = bytes.readUInt16BE(cursor.pos + 2);
  const ttl = bytes.readUInt32BE(cursor.pos + 4);
  const end = cursor.pos + 10 + bytes.readUInt16BE(cursor.pos + 8);
  if (end > bytes.length) throw new FormatError("a record's data are cut off");
  cursor.pos += 10;
  const data = readData(cursor, type, end);
  if (cursor.pos !== end) throw new FormatError("a record's data do not have the length they claim");
  return { name, class: recordClass, ttl, ...data };
}

/** Names inside may be compressed; where they end is checked by the caller. */
function readData(cursor: Cursor, type: number, end: number): RecordData {
  switch (type) {
    case TYPE.A:
      return { type: 'A', address: take(cursor, 4, end) };
    case TYPE.AAAA:
      return { type: 'AAAA', address: take(cursor, 16, end) };
    case TYPE.NS:
      return { type: 'NS', target: readName(cursor) };
    case TYPE.CNAME:
      return { type: 'CNAME', target: readName(cursor) };
    case TYPE.PTR:
      return { type: 'PTR', target: readName(cursor) };
    case TYPE.SRV:
      return {
        type: 'SRV',
        priority: readU16(cursor, end),
        weight: readU16(cursor, end),
        port: readU16(cursor, end),
        target: readName(cursor),
      };
    case TYPE.SOA:
      return readSoa(cursor, end);
    case TYPE.TXT:
      return { type: 'TXT', texts: readTexts(cursor, end) };
    default:
      return { type, data: take(cursor, end - cursor.pos, end) };
  }
}

function readSoa(cursor: Cursor, end: number): RecordData {
  return {
    type: 'SOA',
    mname: readName(cursor),
    rname: readName(cursor),
    serial: readU32(cursor, end),
    refresh: readU32(cursor, end),
    retry: readU32(cursor, end),
    expire: readU32(cursor, end),
    minimum: readU32(cursor, end),
  };
}

function readTexts(cursor: Cursor, end: number): Uint8Array[] {
  const texts: Uint8Array[] = [];
  while (cursor.pos < end) {
    const length = cursor.bytes[cursor.pos++] ?? 0;
    texts.push(take(cursor, length, end));
  }
  return texts;
}

/** A copy, since messages are read from buffers that are used again. */
function take(cursor: Cursor, length: number, end: number): Uint8Array {
  if (cursor.pos + length > end) throw new FormatError("a record's data are too short");
  const data = Uint8Array.from(cursor.bytes.subarray(cursor.pos, cursor.pos + length));
  cursor.pos += length;
  return data;
}

function readU16(cursor: Cursor, end: number): number {
  if (cursor.pos + 2 > end) throw new FormatError("a record's data are too short");
  cursor.pos += 2;
  return cursor.bytes.readUInt16BE(cursor.pos - 2);
}

function readU32(cursor: Cursor, end: number): number {
  return readU16(cursor, end) * 0x10000 + readU16(cursor, end);
}

export function writeRecord(writer: Writer, record: ResourceRecord): void {
  writeName(writer, record.name);
  room(writer, 10);
  const { bytes, pos } = writer;
  bytes.writeUInt16BE(typeNumber(record), pos);
  bytes.writeUInt16BE(record.class ?? CLASS_IN, pos + 2);
  bytes.writeUInt32BE(record.ttl >>> 0, pos + 4);
  writer.pos = pos + 10;
  writeData(writer, record);
  bytes.writeUInt16BE(writer.pos - pos - 10, pos + 8);
}

function writeData(writer: Writer, record: RecordData): void {
  switch (record.type) {
    case 'A':
    case 'AAAA':
      return writeBytes(writer, record.address);
    case 'NS':
    case 'CNAME':
    case 'PTR':
      return writeName(writer, record.target);
    case 'SRV':
      for (const value of [record.priority, record.weight, record.port]) writeU16(writer, value);
      return writeUncompressed(writer, record.target);
    case 'SOA':
      for (const name of [record.mname, record.rname]) writeName(writer, name);
      for (const value of [record.serial, record.refresh, record.retry, record.expire, record.minimum])
        writeU32(writer, value);
      return;
    case 'TXT':
      for (const text of record.texts) writeText(writer, text);
      return;
    default:
      return writeBytes(writer, record.data);
  }
}

/** RFC 2782: the target of an SRV record must not be compressed. */
function writeUncompressed(writer: Writer, name: string): void {
  const plain: Writer = { bytes: writer.bytes, pos: writer.pos, limit: writer.limit, names: new Map() };
  writeName(plain, name);
  writer.pos = plain.pos;
}

function writeText(writer: Writer, text: Uint8Array): void {
  if (text.length > 255) throw new FormatError('a text of a TXT record is longer than 255 bytes');
  room(writer, 1 + text.length);
  writer.bytes[writer.pos++] = text.length;
  writeBytes(writer, text);
}

function writeBytes(writer: Writer, data: Uint8Array): void {
  room(writer, data.length);
  writer.bytes.set(data, writer.pos);
  writer.pos += data.length;
}

function writeU16(writer: Writer, value: number): void {
  room(writer, 2);
  writer.pos = writer.bytes.writeUInt16BE(value & 0xffff, writer.pos);
}

function writeU32(writer: Writer, value: number): void {
  room(writer, 4);
  writer.pos = writer.bytes.writeUInt32BE(value >>> 0, writer.pos);
}
