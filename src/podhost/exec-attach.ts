/**
 * The streams of a container that runs already: its holder (native/heddle-pause) speaks the frames of exec-protocol.ts
 * on a connection of its own, and this hands them on.
 */
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { HeddleError } from '../lib/errors.ts';
import type { Session } from './exec.ts';
import { type ExecStart, encodeFrame, Frame, parseSize } from './exec-protocol.ts';

export interface AttachTarget {
  /** The socket of the pod's holder. */
  holder: string;
  /** Of the container's run, as the holder knows it. */
  id: string;
  /** The container reads what is sent to it. */
  takesInput: boolean;
}

export async function startAttach(target: AttachTarget, asked: ExecStart, socket: Duplex): Promise<Session> {
  const holder = await dial(target.holder);
  const wantsInput = asked.stdin === true && target.takesInput;
  holder.write(`attach ${target.id} ${wantsInput ? 1 : 0}\n`);
  holder.pipe(socket);
  holder.on('error', () => holder.destroy());
  return {
    take(type, payload, onRoom) {
      const frame = frameFor(type, payload, wantsInput);
      if (!frame || !holder.writable || holder.write(frame)) return true;
      const go = () => {
        holder.off('drain', go);
        holder.off('close', go);
        onRoom();
      };
      holder.on('drain', go);
      holder.on('close', go);
      return false;
    },
    hangUp: () => void holder.destroy(),
  };
}

function frameFor(type: number, payload: Buffer, wantsInput: boolean): Buffer | undefined {
  if (type === Frame.stdin || type === Frame.stdinEnd)
    return wantsInput ? encodeFrame(type, payload) : undefined;
  if (type !== Frame.resize) return undefined;
  const { columns, rows } = parseSize(payload);
  const size = Buffer.alloc(4);
  size.writeUInt16BE(columns);
  size.writeUInt16BE(rows, 2);
  return encodeFrame(Frame.resize, size);
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (cause) =>
      reject(
        new HeddleError('ExecFailed', 'the holder of the pod does not answer', {
          hint: 'the pod may have ended',
          cause,
        }),
      ),
    );
  });
}
