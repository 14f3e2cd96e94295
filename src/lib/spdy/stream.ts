/** One stream of a session: a Duplex whose ends close apart from each other. */
import { Duplex } from 'node:stream';
import { Reset } from './frame.ts';

export interface StreamDeps {
  /** Bytes that the client takes of this stream before it says more. */
  sendWindow: number;
  /** Bytes that the client takes of the whole session. */
  room(): number;
  keepsWindows(): boolean;
  /** `done` once there is room for more. */
  send(payload: Uint8Array, fin: boolean, done: () => void): void;
  /** A piece waits for the reader. */
  came(bytes: number): void;
  /** The reader has taken pieces, or they were thrown away. */
  taken(bytes: number, pieces: number): void;
  /** The reader has taken `bytes`; `isOpen`: more of this stream may come. */
  consumed(bytes: number, isOpen: boolean): void;
  /** More than `limit` bytes wait for the reader, or no longer do. */
  overfull(isOn: boolean): void;
  limit: number;
  /** With the status for RST_STREAM when the client is to be told. */
  closed(status: number | undefined): void;
}

export interface SpdyStream extends Duplex {
  receive(payload: Buffer, fin: boolean): void;
  /** False when the window grows beyond what there can be. */
  widen(bytes: number): boolean;
  /** The client, or all of the session, has given it up. */
  gone(error: Error | undefined): void;
}

const MAX_WINDOW = 2 ** 31 - 1;
/** Longest payload of a frame, bytes, so that streams take turns. */
const MAX_PAYLOAD = 32 << 10;

export function createSpdyStream(deps: StreamDeps): SpdyStream {
  let sendWindow = deps.sendWindow;
  /** Bytes that came and that the reader has not taken. */
  let untaken = 0;
  let pieces = 0;
  let theirEnd = false;
  let ourEnd = false;
  let status: number | undefined = Reset.cancel;
  let overfull = false;
  let blocked: (() => void) | undefined;

  const duplex = new Duplex({
    allowHalfOpen: true,
    // More is asked for when all has been taken, no sooner: so what waits is known.
    readableHighWaterMark: 0,
    read() {
      const taken = takeAll();
      if (overfull) deps.overfull((overfull = false));
      deps.consumed(taken, !theirEnd);
    },
    write(chunk: Buffer, _encoding, done) {
      sendAll(chunk, () => done());
    },
    final(done) {
      ourEnd = true;
      deps.send(Buffer.alloc(0), true, () => {});
      done();
    },
    destroy(error, done) {
      blocked = undefined;
      deps.consumed(takeAll(), false);
      deps.closed(theirEnd && ourEnd ? undefined : status);
      done(error);
    },
  });

  // Who works on it hears of its end by 'close' as well.
  duplex.on('error', () => {});

  function takeAll(): number {
    const bytes = untaken;
    deps.taken(bytes, pieces);
    untaken = pieces = 0;
    return bytes;
  }

  function sendAll(bytes: Buffer, done: () => void): void {
    if (duplex.destroyed) return;
    if (bytes.length === 0) return done();
    const room = deps.keepsWindows() ? Math.min(sendWindow, deps.room()) : MAX_PAYLOAD;
    if (room <= 0) {
      blocked = () => sendAll(bytes, done);
      return;
    }
    const part = bytes.subarray(0, Math.min(room, MAX_PAYLOAD));
    sendWindow -= part.length;
    deps.send(part, false, () => sendAll(bytes.subarray(part.length), done));
  }

  return Object.assign(duplex, {
    receive(payload: Buffer, fin: boolean) {
      if (theirEnd) {
        status = Reset.alreadyClosed;
        duplex.destroy();
        return;
      }
      theirEnd = fin;
      untaken += payload.length;
      if (payload.length > 0) {
        pieces++;
        deps.came(payload.length);
        duplex.push(payload);
      }
      if (fin) duplex.push(null);
      if (untaken > deps.limit && !overfull && !duplex.destroyed) deps.overfull((overfull = true));
    },
    widen(bytes: number) {
      sendWindow += bytes;
      if (sendWindow > MAX_WINDOW) return false;
      const go = blocked;
      blocked = undefined;
      go?.();
      return true;
    },
    gone(error: Error | undefined) {
      status = undefined;
      duplex.destroy(error);
    },
  });
}
