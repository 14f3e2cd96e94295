/** The server's side of a WebSocket (RFC 6455): messages both ways, no extensions. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { farewell } from './farewell.ts';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** Milliseconds between pings to a client that is not read from: it could go, and nobody would notice. */
const ASK_MS = 5_000;
/** Longest message taken, bytes. */
const MAX_MESSAGE = 4 << 20;

export type MessageKind = 'text' | 'binary';

export interface WebSocketServer {
  readonly protocol: string;
  /** False when the other side is slow: wait until it is drained. Default: binary. */
  send(payload: Uint8Array, kind?: MessageKind): boolean;
  onceDrained(go: () => void): void;
  /** Ends it once everything is sent. */
  close(code?: number): void;
  pause(): void;
  resume(): void;
  /** Aborted when the connection is gone. */
  readonly closed: AbortSignal;
}

/** `sec-websocket-protocol` of the client that `known` has too; the first of `known` wins. */
export function chooseProtocol(request: IncomingMessage, known: readonly string[]): string | undefined {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  return known.find((one) => offered.includes(one));
}

/** Undefined when the request is no proper WebSocket handshake. */
export const keyOf = (request: IncomingMessage): string | undefined =>
  request.headers.upgrade?.toLowerCase() === 'websocket' && request.headers['sec-websocket-version'] === '13'
    ? request.headers['sec-websocket-key']
    : undefined;

/** Takes over the connection. `onMessage` gets whole messages. */
export function acceptWebSocket(
  socket: Duplex,
  options: {
    key: string;
    /** Empty: none is agreed on. */
    protocol: string;
    head: Buffer;
    onMessage(payload: Buffer, kind: MessageKind): void;
  },
): WebSocketServer {
  const { key, protocol, onMessage } = options;
  const gone = new AbortController();
  const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64');
  let closing = false;
  let asking: NodeJS.Timeout | undefined;
  const stopAsking = () => {
    clearInterval(asking);
    asking = undefined;
  };
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n${protocol === '' ? '' : `sec-websocket-protocol: ${protocol}\r\n`}\r\n`,
  );
  const close = (code = 1000) => {
    if (closing) return;
    closing = true;
    const payload = Buffer.alloc(2);
    payload.writeUInt16BE(code);
    farewell(socket, encodeFrame(Opcode.close, payload));
  };
  let held = false;
  const onceDrained = (go: () => void) => {
    if (!socket.writableNeedDrain || socket.destroyed) return go();
    const once = () => {
      socket.off('drain', once);
      socket.off('close', once);
      go();
    };
    socket.on('drain', once);
    socket.on('close', once);
  };
  /** RFC 6455 section 5.5.3: who is slow to take answers is owed that to the last ping alone. */
  let owed: Buffer | undefined;
  const answerPing = (payload: Buffer) => {
    const waits = owed !== undefined;
    owed = payload;
    if (waits) return;
    onceDrained(() => {
      if (owed && !closing) socket.write(encodeFrame(Opcode.pong, owed));
      owed = undefined;
    });
  };
  const take = (opcode: number, payload: Buffer) => {
    if (opcode === Opcode.close) close();
    else if (opcode === Opcode.ping) answerPing(payload);
    else if (opcode === Opcode.binary || opcode === Opcode.text)
      onMessage(payload, opcode === Opcode.text ? 'text' : 'binary');
  };
  const read = createFrameReader(take, () => held || closing || socket.destroyed);
  const feed = (chunk: Buffer) => {
    if (closing || socket.destroyed) return;
    try {
      read(chunk);
    } catch {
      close(1002);
      socket.destroy();
    }
  };
  socket.on('data', feed);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => close());
  socket.on('close', () => {
    stopAsking();
    gone.abort(new Error('the connection was closed'));
  });
  // Whoever asked has what it needs to answer by then.
  if (options.head.length > 0) queueMicrotask(() => feed(options.head));
  return {
    protocol,
    send: (payload, kind = 'binary') => closing || socket.write(encodeFrame(Opcode[kind], payload)),
    onceDrained,
    close,
    pause() {
      if (closing || socket.destroyed) return;
      held = true;
      socket.pause();
      asking ??= setInterval(() => {
        if (!closing) socket.write(encodeFrame(Opcode.ping, Buffer.alloc(0)));
      }, ASK_MS);
    },
    resume() {
      stopAsking();
      held = false;
      feed(NOTHING);
      if (!held) socket.resume();
    },
    closed: gone.signal,
  };
}

/** One whole frame, unmasked, as servers send them. */
export function encodeFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (length < 126) head[1] = length;
  else if (length < 65_536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, payload]);
}

interface Frame {
  final: boolean;
  opcode: number;
  payload: Buffer;
  /** Bytes of it in the buffer. */
  size: number;
}

const NOTHING: Buffer = Buffer.alloc(0);

/** A buffer that grows: fragments may be many, and each alone costs more than its bytes. */
function createPile() {
  let room: Buffer = NOTHING;
  let size = 0;
  return {
    add(bytes: Buffer) {
      size += bytes.length;
      if (size > MAX_MESSAGE) throw new Error(`a message is longer than ${MAX_MESSAGE} bytes`);
      if (size > room.length)
        room = Buffer.concat([room.subarray(0, size - bytes.length)], Math.max(1024, 2 * size));
      bytes.copy(room, size - bytes.length);
    },
    take(): Buffer {
      const whole = room.subarray(0, size);
      [room, size] = [NOTHING, 0];
      return whole;
    },
  };
}

/**
 * Feeds on chunks as they come; fragments are put together. While `isHeld`, what came is kept, until the next chunk.
 * @throws Error for what no client may send
 */
export function createFrameReader(
  onMessage: (opcode: number, payload: Buffer) => void,
  isHeld: () => boolean = () => false,
) {
  let rest: Buffer = NOTHING;
  let first = 0;
  let reading = false;
  const pile = createPile();
  const take = ({ final, opcode, payload }: Frame) => {
    if (opcode >= Opcode.close) return onMessage(opcode, payload);
    if ((opcode === Opcode.continuation) !== first > 0) throw new Error('a fragment is out of order');
    if (final && opcode !== Opcode.continuation) return onMessage(opcode, payload);
    if (opcode !== Opcode.continuation) first = opcode;
    pile.add(payload);
    if (!final) return;
    const kind = first;
    first = 0;
    onMessage(kind, pile.take());
  };
  return (chunk: Buffer): void => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    // Whoever takes a message may end the hold: what is left has its turn here.
    if (reading) return;
    reading = true;
    try {
      while (!isHeld()) {
        const frame = parseFrame(rest);
        if (!frame) return;
        rest = rest.subarray(frame.size);
        take(frame);
      }
    } finally {
      reading = false;
    }
  };
}

/** Undefined while it is not whole. */
function parseFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 2) return undefined;
  const [one = 0, two = 0] = bytes;
  if ((one & 0x70) !== 0) throw new Error('reserved bits are set');
  // RFC 6455 section 5.2 and 5.5: what is not defined, and control frames that are long or in pieces.
  if ((one & 0x07) > 2) throw new Error('the opcode is reserved');
  if ((one & 0x08) !== 0 && ((one & 0x80) === 0 || (two & 0x7f) > 125))
    throw new Error('a control frame is long or in pieces');
  if ((two & 0x80) === 0) throw new Error('a client must mask what it sends');
  const short = two & 0x7f;
  const more = short === 126 ? 2 : short === 127 ? 8 : 0;
  const start = 2 + more + 4;
  if (bytes.length < start) return undefined;
  const length = more === 0 ? short : more === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (length > MAX_MESSAGE) throw new Error(`a frame is longer than ${MAX_MESSAGE} bytes`);
  if (bytes.length < start + length) return undefined;
  const payload = Buffer.from(bytes.subarray(start, start + length));
  for (let i = 0; i < length; i++) payload[i]! ^= bytes[start - 4 + (i & 3)]!;
  return { final: (one & 0x80) !== 0, opcode: one & 0x0f, payload, size: start + length };
}
