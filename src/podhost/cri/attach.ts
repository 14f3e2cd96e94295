/** The streams of a container of a container runtime, in the frames of exec-protocol.ts. */
import type { Duplex } from 'node:stream';
import { HeddleError } from '../../lib/errors.ts';
import { type ClientStream, createSpdyClient } from '../../lib/spdy/client.ts';
import type { Session } from '../exec.ts';
import { encodeFrame, type ExecStart, Frame, failedFrame, parseSize } from '../exec-protocol.ts';
import type { Upgraded } from './streaming.ts';

export interface RuntimeTarget {
  /** The streams that the runtime hands out. @throws HeddleError */
  attach(wanted: { stdin: boolean; tty: boolean }): Promise<Upgraded>;
  /** The container reads what is sent to it. */
  takesInput: boolean;
  /** It has a terminal. */
  tty: boolean;
}

/** Milliseconds that who looks on may take nothing: the runtime waits for him, and the container for the runtime. */
const PATIENCE_MS = 30_000;
/** Characters of a Status. */
const MAX_STATUS = 64 << 10;

export async function startRuntimeAttach(
  { attach, takesInput, tty }: RuntimeTarget,
  asked: ExecStart,
  caller: Duplex,
): Promise<Session> {
  const wantsInput = asked.stdin === true && takesInput;
  const { socket, head } = await attach({ stdin: wantsInput, tty });
  let status = '';
  let over = false;
  let late: NodeJS.Timeout | undefined;

  const finish = (frame: Buffer) => {
    if (over) return;
    over = true;
    clearTimeout(late);
    socket.destroy();
    if (caller.writable) caller.end(frame);
  };
  const fail = (message: string, hint: string) =>
    finish(failedFrame(new HeddleError('ExecFailed', message, { hint })));
  const pass = (type: number) => (chunk: Buffer) => {
    if (over || caller.write(encodeFrame(type, chunk))) return;
    socket.pause();
    late ??= setTimeout(
      () => fail('it was let go: nobody takes what the container says', 'read on'),
      PATIENCE_MS,
    );
  };
  const onDrain = () => {
    clearTimeout(late);
    late = undefined;
    socket.resume();
  };
  caller.on('drain', onDrain);
  caller.on('close', () => finish(Buffer.alloc(0)));
  const broken = () =>
    fail(
      'the connection to the container runtime broke off',
      'it was restarted; the container runs on, attach to it again',
    );
  socket.on('error', broken);
  socket.on('end', broken);
  socket.on('close', broken);

  const client = createSpdyClient(socket, head, (error) =>
    fail(
      `the container runtime does not speak SPDY as it should: ${error.message}`,
      'the log of the runtime',
    ),
  );
  const open = (streamtype: string, onData?: (chunk: Buffer) => void) =>
    client.open({ streamtype }, onData ? { onData } : {});
  client.open(
    { streamtype: 'error' },
    {
      onData: (chunk) => (status = (status + chunk.toString()).slice(0, MAX_STATUS)),
      onEnd: () => finish(statusFrame(status)),
    },
  );
  const input = wantsInput ? open('stdin') : undefined;
  open('stdout', pass(Frame.stdout));
  if (!tty) open('stderr', pass(Frame.stderr));
  const resize = tty ? open('resize') : undefined;
  return {
    take: (type, payload, onRoom) =>
      over || send({ input, resize }, type, payload) || !waitFor(socket, onRoom),
    hangUp: () => finish(Buffer.alloc(0)),
  };
}

/** False when the runtime is slow. */
function send(
  { input, resize }: { input: ClientStream | undefined; resize: ClientStream | undefined },
  type: number,
  payload: Buffer,
): boolean {
  if (type === Frame.stdin) return input?.send(payload) ?? true;
  if (type === Frame.stdinEnd) input?.end();
  if (type !== Frame.resize || !resize) return true;
  const { columns, rows } = parseSize(payload);
  return resize.send(Buffer.from(JSON.stringify({ Width: columns, Height: rows })));
}

function waitFor(socket: Duplex, onRoom: () => void): true {
  const go = () => {
    socket.off('drain', go);
    socket.off('close', go);
    onRoom();
  };
  socket.on('drain', go);
  socket.on('close', go);
  return true;
}

/** What the error stream says at the end: a Status of Kubernetes, or nothing. */
function statusFrame(text: string): Buffer {
  const { status, message } = parseStatus(text);
  if (status === undefined || status === 'Success') return encodeFrame(Frame.exit, '0');
  return failedFrame(new HeddleError('AttachRefused', `the container runtime: ${message ?? text}`));
}

function parseStatus(text: string): { status?: string; message?: string } {
  try {
    return text.trim() === '' ? {} : (JSON.parse(text) as { status?: string; message?: string });
  } catch {
    return { status: 'Failure', message: text };
  }
}
