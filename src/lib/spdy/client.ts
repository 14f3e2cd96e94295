/**
 * The client's side of a SPDY/3.1 session, as far as servers of container runtimes (moby/spdystream) speak it: streams
 * that we open, without windows, which they pay no heed to. Who is slow pauses the connection.
 */
import type { Duplex } from 'node:stream';
import { controlFrame, createFrameReader, dataFrame, FLAG_FIN, type Frame, Type } from './frame.ts';
import { createHeaderWriter } from './headers.ts';

export interface ClientStream {
  /** False: wait until the connection is drained. */
  send(bytes: Uint8Array): boolean;
  /** Nothing more comes from us. */
  end(): void;
}

export interface StreamEvents {
  onData?(chunk: Buffer): void;
  /** Nothing more comes: the server has ended it, or given it up. */
  onEnd?(): void;
}

export interface SpdyClient {
  open(headers: Readonly<Record<string, string>>, events?: StreamEvents): ClientStream;
}

/** Bytes of answers that the server owes us the reading of. */
const MAX_OWED = 1 << 20;

/** `head`: bytes that came with the answer to the upgrade. `onError`: the server broke the rules; told once. */
export function createSpdyClient(socket: Duplex, head: Buffer, onError: (error: Error) => void): SpdyClient {
  const streams = new Map<number, StreamEvents>();
  const reader = createFrameReader();
  const write = createHeaderWriter();
  let nextId = 1;

  const end = (id: number) => {
    const events = streams.get(id);
    streams.delete(id);
    events?.onEnd?.();
  };

  function take(frame: Frame): void {
    if (frame.type === 'data') {
      if (frame.payload.length > 0) streams.get(frame.stream)?.onData?.(frame.payload);
      if (frame.fin) end(frame.stream);
      return;
    }
    const { kind, flags, payload } = frame;
    if (kind === Type.settings || payload.length < 4) return;
    const word = payload.readUInt32BE(0);
    // Section 2.6.5: an even number is the server's own, and goes back as it came.
    if (kind === Type.ping && word % 2 === 0) {
      if (socket.writableLength > MAX_OWED)
        throw new Error('the server does not read the answers that it asks for');
      socket.write(controlFrame(Type.ping, 0, word));
    }
    // What replies say is packed; we need to know no more than that they close a stream (section 2.3.3).
    if (kind === Type.rstStream || (kind === Type.synReply && (flags & FLAG_FIN) !== 0)) end(word);
  }

  const feed = (chunk: Buffer) => {
    try {
      reader.push(chunk);
      for (let frame = reader.next(); frame; frame = reader.next()) take(frame);
    } catch (error) {
      // Where the next frame begins nobody knows.
      socket.off('data', feed);
      onError(error as Error);
    }
  };
  socket.on('data', feed);
  if (head.length > 0) queueMicrotask(() => feed(head));

  return {
    open(headers, events = {}) {
      const id = nextId;
      nextId += 2;
      streams.set(id, events);
      const block = write(new Map(Object.entries(headers)));
      // Associated with no other stream, of the least priority (section 2.6.1).
      socket.write(controlFrame(Type.synStream, 0, id, 0, Buffer.alloc(2), block));
      return {
        send: (bytes) => socket.write(dataFrame(id, bytes)),
        end: () => void socket.write(dataFrame(id, Buffer.alloc(0), true)),
      };
    },
  };
}
