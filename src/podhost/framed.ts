/**
 * A byte stream in the frames of exec-protocol.ts, the same both ways: its two ends close apart from each other, and a
 * connection that breaks off is not taken for an end.
 */
import { Duplex } from 'node:stream';
import { HeddleError } from '../lib/errors.ts';
import { asError, createFrameReader, encodeFrame, Frame, pauseAndAsk } from './exec-protocol.ts';

export interface FramedOptions {
  /** Bytes that came before. */
  head: Buffer;
  /** The first `opened` of the other side. */
  onOpened?(): void;
  /** The first `start` of the other side. */
  onStart?(payload: Buffer): void;
}

/** Data, its end, and failures; `destroy` breaks the connection off. */
export function framed(socket: Duplex, options: FramedOptions): Duplex {
  let theirEnd = false;
  let ourEnd = false;
  let goOn: (() => void) | undefined;
  const duplex = new Duplex({
    allowHalfOpen: true,
    read() {
      goOn?.();
      goOn = undefined;
    },
    write: (chunk: Buffer, _encoding, done) => send(encodeFrame(Frame.stdin, chunk), done),
    final(done) {
      ourEnd = true;
      send(encodeFrame(Frame.stdinEnd), done);
    },
    destroy(error, done) {
      goOn?.();
      // What was said to its end is delivered; the rest is not.
      if (ourEnd && theirEnd && !error) socket.end();
      else socket.destroy();
      done(error);
    },
  });
  duplex.on('error', () => {});

  function send(frame: Buffer, done: () => void): void {
    if (socket.destroyed || socket.write(frame)) return done();
    const go = () => {
      socket.off('drain', go);
      socket.off('close', go);
      done();
    };
    socket.on('drain', go);
    socket.on('close', go);
  }

  const read = createFrameReader((type, payload) => {
    if (type === Frame.stdin && !theirEnd) {
      if (!duplex.push(payload)) goOn ??= pauseAndAsk(socket);
    } else if (type === Frame.stdinEnd && !theirEnd) {
      theirEnd = true;
      duplex.push(null);
    } else if (type === Frame.failed) duplex.destroy(asError(payload));
    else if (type === Frame.start) options.onStart?.(payload);
    else if (type === Frame.opened) options.onOpened?.();
  });
  const feed = (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      duplex.destroy(error as Error);
    }
  };
  const broken = () => {
    if (theirEnd && ourEnd) duplex.destroy();
    else
      duplex.destroy(
        new HeddleError('ExecFailed', 'the connection between the API server and the agent broke off', {
          hint: 'one of them was restarted; try again',
        }),
      );
  };
  socket.on('data', feed);
  socket.on('error', () => socket.destroy());
  socket.on('end', broken);
  socket.on('close', broken);
  if (options.head.length > 0) feed(options.head);
  return duplex;
}
