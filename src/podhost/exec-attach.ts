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
  holder.on('error', () => holder.destroy());
  holder.write(`attach ${target.id} ${wantsInput ? 1 : 0}\n`);
  const frames = await afterAnswer(holder);
  socket.write(frames);
  holder.pipe(socket);
  return {
    take(type, payload, onRoom) {
      const frame = frameFor(type, payload, wantsInput);
      if (!frame || !holder.writable) return true;
      const waits = holder.writableNeedDrain;
      if (holder.write(frame)) return true;
      if (waits) return false;
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

const ANSWER = 'attached\n';

/** What came behind the answer; before it the holder tells of all that it holds. */
function afterAnswer(holder: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let heard: Buffer = Buffer.alloc(0);
    const onData = (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      const at = heard.indexOf(ANSWER);
      if (at < 0) return;
      holder.pause();
      holder.off('data', onData);
      holder.off('close', onClose);
      resolve(heard.subarray(at + ANSWER.length));
    };
    const onClose = () =>
      reject(
        new HeddleError('AttachRefused', 'the container has ended, or too many are attached to it already'),
      );
    holder.on('data', onData);
    holder.once('close', onClose);
  });
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
