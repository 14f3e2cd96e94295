/**
 * The server's side of a SPDY/3.1 session over any transport: streams that the client opens, as Duplex streams.
 *
 * Back-pressure: what a stream's reader has not taken yet is bounded by its window, and for clients that pay no heed
 * to windows (moby/spdystream, and so kubectl) by pausing the transport. Our own data waits for the transport, and for
 * the client's windows once it has shown that it keeps them by a SETTINGS or WINDOW_UPDATE frame.
 */
import { type Frame, FLAG_FIN, Reset, Type, controlFrame, createFrameReader, dataFrame } from './frame.ts';
import { createHeaderReader, createHeaderWriter, type Headers } from './headers.ts';
import { createSpdyStream, type SpdyStream } from './stream.ts';

export interface SpdyTransport {
  /** False when the other side is slow: wait until it is drained. */
  send(bytes: Uint8Array): boolean;
  onceDrained(go: () => void): void;
  pause(): void;
  resume(): void;
  /** Once everything is sent. */
  close(): void;
}

export interface SpdyOptions {
  transport: SpdyTransport;
  /** Takes a stream by giving what works on it. @throws Error when it is not wanted */
  accept(headers: Headers, id: number): (stream: SpdyStream) => void;
  /** Called once, with what was wrong when the client broke the rules. */
  onEnd(error: Error | undefined): void;
}

export interface SpdySession {
  feed(chunk: Buffer): void;
  /** Ends all streams, and the transport. */
  close(error?: Error): void;
}

/** Of both directions until a frame says otherwise, bytes (section 2.6.8). */
const WINDOW = 64 << 10;
const MAX_WINDOW = 2 ** 31 - 1;
const MAX_STREAMS = 4096;
/** Bytes of a stream that nobody reads before nothing more is read at all. */
const STALL_AT = 4 * WINDOW;
/** The same of all streams together, with what it takes to hold each piece. */
const STALL_ALL_AT = 16 * WINDOW;
/** Bytes that a piece takes besides its payload, roughly. */
const PIECE = 256;
/** Bytes of answers that the client owes us the reading of. */
const MAX_OWED = 1 << 20;
const INITIAL_WINDOW_SIZE = 7;
const PROTOCOL_ERROR = 1;
/** Milliseconds between pings to a client that is not read from: it could go, and nobody would notice. */
const ASK_MS = 5_000;
const OUR_PING = 2;

export function createSpdySession(options: SpdyOptions): SpdySession {
  const { transport } = options;
  const streams = new Map<number, SpdyStream>();
  const reader = createFrameReader();
  const headerReader = createHeaderReader();
  const writeHeaders = createHeaderWriter();
  /** Who has more than it can take: nothing is read until all are better. */
  const stalls = new Set<object>();
  const window = { ours: WINDOW, ofStreams: WINDOW, kept: false };
  let drained: (() => void)[] = [];
  let asking: NodeJS.Timeout | undefined;
  let owed = 0;
  let unread = 0;
  let lastId = 0;
  let working = false;
  let ended = false;

  function stall(who: object, isOn: boolean): void {
    const before = stalls.size;
    if (isOn) stalls.add(who);
    else stalls.delete(who);
    if (before === 0 && stalls.size > 0) {
      transport.pause();
      asking = setInterval(() => answer(controlFrame(Type.ping, 0, OUR_PING)), ASK_MS);
    } else if (before > 0 && stalls.size === 0) {
      clearInterval(asking);
      transport.resume();
    }
  }

  /** Bytes that came for streams and that nobody has taken, more or less. */
  function hold(bytes: number): void {
    unread += bytes;
    if (!ended) stall(streams, unread > STALL_ALL_AT);
  }

  /** For all who wait, one wait at the transport. */
  function onceDrained(go: () => void): void {
    drained.push(go);
    if (drained.length > 1) return;
    transport.onceDrained(() => {
      owed = 0;
      const waiting = drained;
      drained = [];
      for (const one of waiting) one();
    });
  }

  /** Short answers do not wait, so they are counted. */
  function answer(frame: Buffer): void {
    if (ended || transport.send(frame)) return;
    if (owed === 0) onceDrained(() => {});
    owed += frame.length;
    if (owed > MAX_OWED) fail(new Error('the client does not read the answers that it asks for'));
  }

  function fail(error: Error): void {
    if (ended) return;
    ended = true;
    transport.send(controlFrame(Type.goAway, 0, lastId, PROTOCOL_ERROR));
    finish(error);
  }

  function finish(error: Error | undefined): void {
    ended = true;
    headerReader.close();
    for (const stream of streams.values()) stream.gone(error);
    streams.clear();
    stalls.clear();
    clearInterval(asking);
    transport.resume();
    transport.close();
    options.onEnd(error);
  }

  const reset = (id: number, status: number) => answer(controlFrame(Type.rstStream, 0, id, status));

  /** What was read, or thrown away, may come again. */
  function credit(id: number | undefined, bytes: number): void {
    if (bytes === 0) return;
    if (id !== undefined) answer(controlFrame(Type.windowUpdate, 0, id, bytes));
    answer(controlFrame(Type.windowUpdate, 0, 0, bytes));
  }

  function open(id: number, flags: number, headers: Headers): void {
    if (streams.size >= MAX_STREAMS) return reset(id, Reset.refusedStream);
    let work: (stream: SpdyStream) => void;
    try {
      work = options.accept(headers, id);
    } catch {
      return reset(id, Reset.refusedStream);
    }
    const stream = createSpdyStream({
      sendWindow: window.ofStreams,
      room: () => (window.kept ? window.ours : Infinity),
      send(payload, fin, done) {
        if (ended) return done();
        window.ours -= payload.length;
        if (transport.send(dataFrame(id, payload, fin))) done();
        else onceDrained(done);
      },
      keepsWindows: () => window.kept,
      consumed: (bytes, isOpen) => credit(isOpen ? id : undefined, bytes),
      came: (bytes) => hold(bytes + PIECE),
      taken: (bytes, pieces) => hold(-bytes - pieces * PIECE),
      overfull: (isOn) => stall(stream, isOn),
      limit: STALL_AT,
      closed(status) {
        stall(stream, false);
        streams.delete(id);
        if (status !== undefined && !ended) reset(id, status);
      },
    });
    streams.set(id, stream);
    answer(controlFrame(Type.synReply, 0, id, writeHeaders(new Map())));
    work(stream);
    if ((flags & FLAG_FIN) !== 0) stream.receive(Buffer.alloc(0), true);
  }

  async function onControl(kind: number, flags: number, payload: Buffer): Promise<void> {
    const word = (at: number): number => {
      if (at + 4 > payload.length) throw new Error(`a control frame of type ${kind} is cut off`);
      return payload.readUInt32BE(at);
    };
    const id = kind === Type.ping || kind === Type.settings ? 0 : word(0) & MAX_WINDOW;
    switch (kind) {
      case Type.synStream: {
        word(4);
        // Section 2.3.2: odd from clients, and rising.
        if (id % 2 === 0 || id <= lastId) throw new Error(`stream ${id} after ${lastId}`);
        lastId = id;
        const headers = await headerReader.read(payload.subarray(10));
        if (!ended) open(id, flags, headers);
        return;
      }
      case Type.synReply:
        throw new Error('a reply to a stream that was not opened');
      case Type.headers:
        // They say nothing new, but what they are packed with is needed for those that come.
        await headerReader.read(payload.subarray(4));
        return;
      case Type.rstStream:
        streams.get(id)?.gone(undefined);
        return;
      case Type.ping:
        // An even number answers one of ours.
        if (word(0) % 2 === 1) answer(controlFrame(Type.ping, 0, word(0)));
        return;
      case Type.settings:
        return onSettings(word(0), payload.subarray(4));
      case Type.windowUpdate:
        return onWindow(id, word(4) & MAX_WINDOW);
      default:
        // Of GOAWAY nothing follows: we open no streams. Unknown ones are passed over (section 2.2.1).
        return;
    }
  }

  function onSettings(count: number, entries: Buffer): void {
    if (entries.length !== count * 8)
      throw new Error(`SETTINGS of ${count} entries in ${entries.length} bytes`);
    for (let at = 0; at < entries.length; at += 8) {
      if (entries.readUIntBE(at + 1, 3) !== INITIAL_WINDOW_SIZE) continue;
      const size = entries.readUInt32BE(at + 4);
      if (size > MAX_WINDOW) throw new Error(`a window of ${size} bytes`);
      const more = size - window.ofStreams;
      window.ofStreams = size;
      for (const stream of streams.values()) stream.widen(more);
    }
    keepWindows();
  }

  function onWindow(id: number, bytes: number): void {
    if (bytes === 0) throw new Error('a WINDOW_UPDATE of nothing');
    if (id === 0) window.ours += bytes;
    const stream = streams.get(id);
    if (window.ours > MAX_WINDOW) throw new Error('a window beyond 2^31 - 1');
    if (stream && !stream.widen(bytes)) {
      stream.gone(new Error('a window beyond 2^31 - 1'));
      reset(id, Reset.flowControlError);
    }
    keepWindows();
    if (id === 0) for (const one of streams.values()) one.widen(0);
  }

  function keepWindows(): void {
    window.kept = true;
  }

  function onData({ stream: id, payload, fin }: Frame & { type: 'data' }): void {
    const stream = streams.get(id);
    if (stream) return stream.receive(payload, fin);
    credit(undefined, payload.length);
    // One that was open a moment ago: the client could not know.
    if (id > lastId || id % 2 === 0) throw new Error(`data of stream ${id}, which was never opened`);
  }

  /** Never rejects. What is fed while it waits it takes along. */
  async function work(): Promise<void> {
    working = true;
    try {
      for (let frame = reader.next(); frame; frame = reader.next()) {
        if (ended) return;
        if (frame.type === 'data') onData(frame);
        else await onControl(frame.kind, frame.flags, frame.payload);
      }
    } catch (error) {
      fail(error as Error);
    }
    working = false;
    if (!ended) stall(reader, false);
  }

  return {
    feed(chunk) {
      if (ended) return;
      reader.push(chunk);
      if (reader.waiting > STALL_AT) stall(reader, true);
      if (!working) void work();
    },
    close(error) {
      if (!ended) finish(error);
    },
  };
}
