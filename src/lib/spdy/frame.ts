/** Frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, section 2.2, and SPDY/3.1 for session windows). */

export const Type = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export const FLAG_FIN = 1;

/** Of RST_STREAM (section 2.6.3). */
export const Reset = {
  protocolError: 1,
  invalidStream: 2,
  refusedStream: 3,
  cancel: 5,
  flowControlError: 7,
  alreadyClosed: 9,
} as const;

const VERSION = 3;
/** Longest control frame taken, bytes. Data is handed on as it comes, however long its frame. */
const MAX_CONTROL = 64 << 10;

export type Frame =
  | { readonly type: 'control'; readonly kind: number; readonly flags: number; readonly payload: Buffer }
  /** A piece of a data frame; `fin` with the last piece alone. */
  | { readonly type: 'data'; readonly stream: number; readonly payload: Buffer; readonly fin: boolean };

export interface FrameReader {
  push(chunk: Buffer): void;
  /** The next that is there. @throws Error for what nobody may send */
  next(): Frame | undefined;
  /** Bytes that were pushed and not yet taken. */
  readonly waiting: number;
}

export function createFrameReader(): FrameReader {
  let rest: Buffer = Buffer.alloc(0);
  let data: { stream: number; fin: boolean; left: number } | undefined;
  const take = (length: number): Buffer => {
    const taken = rest.subarray(0, length);
    rest = rest.subarray(length);
    return taken;
  };

  function piece(): Frame | undefined {
    const { stream, left, fin } = data!;
    if (left > 0 && rest.length === 0) return undefined;
    const payload = take(Math.min(left, rest.length));
    data!.left -= payload.length;
    const last = data!.left === 0;
    if (last) data = undefined;
    return { type: 'data', stream, payload, fin: fin && last };
  }

  function control(flags: number, length: number): Frame | undefined {
    const [version, kind] = [rest.readUInt16BE(0) & 0x7fff, rest.readUInt16BE(2)];
    if (version !== VERSION) throw new Error(`a frame of version ${version}; expected ${VERSION}`);
    if (length > MAX_CONTROL)
      throw new Error(`a control frame of ${length} bytes is longer than ${MAX_CONTROL}`);
    if (rest.length < 8 + length) return undefined;
    take(8);
    return { type: 'control', kind, flags, payload: take(length) };
  }

  return {
    push(chunk) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    },
    next() {
      if (data) return piece();
      if (rest.length < 8) return undefined;
      const [flags, length] = [rest[4]!, rest.readUIntBE(5, 3)];
      if ((rest[0]! & 0x80) !== 0) return control(flags, length);
      data = { stream: rest.readUInt32BE(0), fin: (flags & FLAG_FIN) !== 0, left: length };
      take(8);
      return piece();
    },
    get waiting() {
      return rest.length;
    },
  };
}

export function controlFrame(kind: number, flags: number, ...words: (number | Buffer)[]): Buffer {
  const payload = Buffer.concat(words.map((word) => (typeof word === 'number' ? uint32(word) : word)));
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8000 | VERSION, 0);
  head.writeUInt16BE(kind, 2);
  head[4] = flags;
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

export function dataFrame(stream: number, payload: Uint8Array, fin = false): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(stream, 0);
  head[4] = fin ? FLAG_FIN : 0;
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}
