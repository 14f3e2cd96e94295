/** Attach to a stand-in: it has no program whose output could be seen, so what it logs from now on is. */
import type { Duplex } from 'node:stream';
import type { Session } from './exec.ts';
import { type ExecStart, encodeFrame, Frame, failedFrame } from './exec-protocol.ts';
import { readLog } from './logs.ts';

export interface LogTarget {
  log: string;
  /** The pod goes. */
  ended: AbortSignal;
}

/** Ctrl-C and Ctrl-D, which a terminal hands on as they are. */
const LEAVING = [3, 4];

export function startLog({ log, ended }: LogTarget, asked: ExecStart, socket: Duplex): Session {
  const left = new AbortController();
  const tty = asked.tty === true;
  const write = (text: Buffer) =>
    new Promise<void>((resolve) => {
      // A terminal whose own end does nothing to what it is sent.
      const bytes = tty ? Buffer.from(text.toString('utf8').replaceAll('\n', '\r\n')) : text;
      if (bytes.length === 0 || !socket.writable || socket.write(encodeFrame(Frame.stdout, bytes)))
        return resolve();
      const go = () => {
        socket.off('drain', go);
        socket.off('close', go);
        resolve();
      };
      socket.on('drain', go);
      socket.on('close', go);
    });
  readLog({ path: log, tail: 0, follow: true }, write, AbortSignal.any([ended, left.signal])).then(
    () => socket.writable && socket.end(encodeFrame(Frame.exit, '0')),
    (error: unknown) => socket.writable && socket.end(failedFrame(error)),
  );
  return {
    take(type, payload) {
      if (tty && type === Frame.stdin && LEAVING.some((byte) => payload.includes(byte))) left.abort();
      return true;
    },
    hangUp: () => left.abort(),
  };
}
