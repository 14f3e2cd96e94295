/** DNS messages (RFC 1035 section 4) with EDNS0 (RFC 6891) and truncation. */
import { type Cursor, FormatError, Overflow, readName, room, type Writer, writeName } from './name.ts';
import { CLASS_IN, type RecordData, readRecord, type ResourceRecord, TYPE, writeRecord } from './record.ts';

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** With EDNS only: its upper bits travel in the OPT record. */
  BADVERS: 16,
} as const;

export const OPCODE_QUERY = 0;

export interface Question {
  /** As written by the asker, capitals and all. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface Edns {
  /** Bytes that the sender takes by UDP. */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
  readonly options: readonly { readonly code: number; readonly data: Uint8Array }[];
}

export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** Twelve bits where there is EDNS, else four. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** Without the OPT record, which is `edns`. */
  readonly additionals: readonly ResourceRecord[];
  readonly edns: Edns | undefined;
}

export const HEADER_SIZE = 12;

const FLAG = { QR: 0x8000, AA: 0x400, TC: 0x200, RD: 0x100, RA: 0x80, AD: 0x20, CD: 0x10 } as const;

/** @throws FormatError */
export function decodeMessage(data: Uint8Array): Message {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.length < HEADER_SIZE) throw new FormatError('a message is shorter than its header');
  const flags = bytes.readUInt16BE(2);
  const cursor: Cursor = { bytes, pos: HEADER_SIZE };
  const questions = repeat(bytes.readUInt16BE(4), () => readQuestion(cursor));
  const answers = repeat(bytes.readUInt16BE(6), () => readRecord(cursor));
  const authorities = repeat(bytes.readUInt16BE(8), () => readRecord(cursor));
  const all = repeat(bytes.readUInt16BE(10), () => readRecord(cursor));
  const opt = findOpt(all);
  return {
    id: bytes.readUInt16BE(0),
    response: (flags & FLAG.QR) !== 0,
    opcode: (flags >> 11) & 15,
    authoritative: (flags & FLAG.AA) !== 0,
    truncated: (flags & FLAG.TC) !== 0,
    recursionDesired: (flags & FLAG.RD) !== 0,
    recursionAvailable: (flags & FLAG.RA) !== 0,
    authenticData: (flags & FLAG.AD) !== 0,
    checkingDisabled: (flags & FLAG.CD) !== 0,
    rcode: (flags & 15) | (opt ? ((opt.ttl >>> 24) & 255) << 4 : 0),
    questions,
    answers,
    authorities,
    additionals: opt ? all.filter((record) => record !== opt) : all,
    edns: opt && ednsOf(opt),
  };
}

/** Records are at least 5 bytes, so a count that lies ends the loop soon. */
function repeat<T>(count: number, read: () => T): T[] {
  const found: T[] = [];
  for (let i = 0; i < count; i++) found.push(read());
  return found;
}

function readQuestion(cursor: Cursor): Question {
  const name = readName(cursor);
  const { bytes, pos } = cursor;
  if (pos + 4 > bytes.length) throw new FormatError('a question is cut off');
  cursor.pos = pos + 4;
  return { name, type: bytes.readUInt16BE(pos), class: bytes.readUInt16BE(pos + 2) };
}

type OptRecord = ResourceRecord & { class: number; data: Uint8Array };

/** RFC 6891 section 6.1.1: at most one, owned by the root. */
function findOpt(records: readonly ResourceRecord[]): OptRecord | undefined {
  const found = records.filter((record): record is OptRecord => record.type === TYPE.OPT);
  if (found.length > 1) throw new FormatError('a message has more than one OPT record');
  if (found[0] && found[0].name !== '') throw new FormatError('an OPT record belongs to the root');
  return found[0];
}

function ednsOf(opt: OptRecord): Edns {
  const options: { code: number; data: Uint8Array }[] = [];
  const data = Buffer.from(opt.data);
  for (let pos = 0; pos < data.length; ) {
    if (pos + 4 > data.length) throw new FormatError('an EDNS option is cut off');
    const end = pos + 4 + data.readUInt16BE(pos + 2);
    if (end > data.length) throw new FormatError('an EDNS option is cut off');
    options.push({ code: data.readUInt16BE(pos), data: Uint8Array.from(data.subarray(pos + 4, end)) });
    pos = end;
  }
  return {
    udpSize: opt.class,
    version: (opt.ttl >>> 16) & 255,
    dnssecOk: (opt.ttl & 0x8000) !== 0,
    options,
  };
}

/** Messages are written here and copied out at their size. Encoding is synchronous. */
const scratch = Buffer.allocUnsafeSlow(65535);

/**
 * At most `limit` bytes: answers and authorities that do not fit are left out whole and TC is set; additional
 * records are left out silently (RFC 2181 section 9). The OPT record stays always.
 * @throws FormatError for names and texts that no message can hold
 */
export function encodeMessage(message: Message, limit = 65535): Buffer {
  const opt = message.edns && optRecord(message.edns, message.rcode);
  const reserved = opt ? 11 + opt.data.length : 0;
  const writer: Writer = { bytes: scratch, pos: HEADER_SIZE, limit: limit - reserved, names: new Map() };
  for (const question of message.questions) writeQuestion(writer, question);
  const answers = writeFitting(writer, message.answers);
  const complete = answers === message.answers.length;
  const authorities = complete ? writeFitting(writer, message.authorities) : 0;
  const whole = complete && authorities === message.authorities.length;
  let additionals = whole ? writeFitting(writer, message.additionals) : 0;
  if (opt) {
    writer.limit = limit;
    writeRecord(writer, opt);
    additionals++;
  }
  writeHeader(message, message.truncated || !whole, [answers, authorities, additionals]);
  return Buffer.from(scratch.subarray(0, writer.pos));
}

function writeQuestion(writer: Writer, question: Question): void {
  writeName(writer, question.name);
  room(writer, 4);
  writer.pos = scratch.writeUInt16BE(question.type, writer.pos);
  writer.pos = scratch.writeUInt16BE(question.class, writer.pos);
}

/** How many of `records` were written before the first that did not fit. */
function writeFitting(writer: Writer, records: readonly ResourceRecord[]): number {
  for (const [i, record] of records.entries()) {
    const start = writer.pos;
    try {
      writeRecord(writer, record);
    } catch (error) {
      if (!(error instanceof Overflow)) throw error;
      writer.pos = start;
      return i;
    }
  }
  return records.length;
}

function writeHeader(message: Message, truncated: boolean, counts: readonly number[]): void {
  const flags =
    (message.response ? FLAG.QR : 0) |
    (message.opcode << 11) |
    (message.authoritative ? FLAG.AA : 0) |
    (truncated ? FLAG.TC : 0) |
    (message.recursionDesired ? FLAG.RD : 0) |
    (message.recursionAvailable ? FLAG.RA : 0) |
    (message.authenticData ? FLAG.AD : 0) |
    (message.checkingDisabled ? FLAG.CD : 0) |
    (message.rcode & 15);
  scratch.writeUInt16BE(message.id, 0);
  scratch.writeUInt16BE(flags, 2);
  for (const [i, count] of [message.questions.length, ...counts].entries())
    scratch.writeUInt16BE(count, 4 + 2 * i);
}

function optRecord(edns: Edns, rcode: number) {
  const data = Buffer.concat(
    edns.options.map((option) => {
      const head = Buffer.alloc(4);
      head.writeUInt16BE(option.code, 0);
      head.writeUInt16BE(option.data.length, 2);
      return Buffer.concat([head, option.data]);
    }),
  );
  const ttl = ((rcode >> 4) << 24) | (edns.version << 16) | (edns.dnssecOk ? 0x8000 : 0);
  const record: RecordData & { data: Uint8Array } = { type: TYPE.OPT, data };
  return { ...record, name: '', class: edns.udpSize, ttl };
}

/** A query as a client sends it. */
export function query(id: number, name: string, type: number, edns?: Partial<Edns>): Message {
  return {
    id,
    response: false,
    opcode: OPCODE_QUERY,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    authenticData: false,
    checkingDisabled: false,
    rcode: RCODE.NOERROR,
    questions: [{ name, type, class: CLASS_IN }],
    answers: [],
    authorities: [],
    additionals: [],
    edns: edns && { udpSize: 1232, version: 0, dnssecOk: false, options: [], ...edns },
  };
}
