/**
 * A command in a pod, over the agent's socket: `POST /exec` with `Upgrade: heddle-exec`, then frames both ways:
 * one byte of type, four of length (big endian), the payload.
 *
 *   caller → agent   0 start, JSON {namespace, pod, container?, argv?, stdin?, tty?}; first, and once
 *                    1 bytes of standard input; 2 its end
 *                    7 the terminal's size, JSON {columns, rows}
 *   agent → caller   3 bytes of standard output; 4 of standard error
 *                    5 exit code, JSON number; 6 it was not started, JSON {code, message, hint}. Then the end.
 *
 *   agent → caller   9 nothing: while it reads no more, so that it notices when the caller has gone
 *
 * A caller that closes the connection ends the command. Either side stops reading to slow the other down.
 */
import { type IncomingMessage, request } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { createBrake } from '../lib/brake.ts';
import { errorText, HeddleError } from '../lib/errors.ts';

export const UPGRADE = 'heddle-exec';
export const EXEC_PATH = '/exec';
export const Frame = {
  start: 0,
  stdin: 1,
  stdinEnd: 2,
  stdout: 3,
  stderr: 4,
  exit: 5,
  failed: 6,
  resize: 7,
  opened: 8,
  nothing: 9,
} as const;
/** Longest payload taken, bytes. */
const MAX_PAYLOAD = 1 << 20;

export interface ExecStart {
  namespace: string;
  pod: string;
  /** Default: the first, or the one that the pod names. */
  container?: string;
  /** Absent: what the container runs already; then its exit code is 0. */
  argv?: string[];
  /** Input may come. */
  stdin?: boolean;
  /** In a terminal of its own. */
  tty?: boolean;
}

/** In characters. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

export function encodeFrame(type: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  const head = Buffer.alloc(5);
  head[0] = type;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** Feeds on chunks as they come and gives whole frames. @throws Error when a length is out of bounds */
export function createFrameReader(onFrame: (type: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 5) {
      const length = rest.readUInt32BE(1);
      if (length > MAX_PAYLOAD) throw new Error(`a frame of ${length} bytes is longer than ${MAX_PAYLOAD}`);
      if (rest.length < 5 + length) return;
      const type = rest[0]!;
      const payload = rest.subarray(5, 5 + length);
      rest = rest.subarray(5 + length);
      onFrame(type, payload);
    }
  };
}

export interface ExecOptions extends Omit<ExecStart, 'stdin' | 'tty'> {
  /** Absent: the command's standard input is empty. */
  stdin?: Readable;
  stdout: Writable;
  stderr: Writable;
  /** Present: it runs in a terminal. Calls the listener for each size. */
  terminal?: { onResize(listener: (size: TerminalSize) => void): void };
  /** Aborting ends the command; the promise rejects with the reason. */
  signal?: AbortSignal;
}

/**
 * Runs a command in a pod of the agent behind `socketPath`; its exit code.
 * @throws HeddleError what the agent said (`PodNotHere`, `ExecFailed`), `SocketCall`
 */
export async function execOverSocket(socketPath: string, options: ExecOptions): Promise<number> {
  const { signal, stdin } = options;
  signal?.throwIfAborted();
  const { socket, head } = await upgradeOnSocket(socketPath, EXEC_PATH, signal);
  const onAbort = () => socket.destroy(signal?.reason as Error);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    // It may have been aborted between the agent's answer and here.
    signal?.throwIfAborted();
    return await converse(socket, head, options);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    stdin?.pause();
    socket.destroy();
  }
}

/**
 * A connection in frames. Aborting until then ends it, however long the agent takes; afterwards it is the caller's.
 * @throws HeddleError `SocketCall`; the signal's reason
 */
export function upgradeOnSocket(
  socketPath: string,
  path: string,
  signal?: AbortSignal,
): Promise<{ socket: Duplex; head: Buffer }> {
  const fail = (cause: unknown) =>
    new HeddleError('SocketCall', `no answer on ${socketPath} to POST ${path}`, {
      hint: 'the agent of the pod\'s node is not running; "heddle status" shows which are',
      cause,
    });
  return new Promise((resolve, reject) => {
    const req = request({
      socketPath,
      method: 'POST',
      path,
      agent: false,
      headers: { connection: 'Upgrade', upgrade: UPGRADE },
      signal,
    });
    req.on('error', (error) => reject(signal?.aborted ? signal.reason : fail(error)));
    req.on('response', (res) => {
      res.resume();
      reject(fail(new Error(`it answered ${res.statusCode}`)));
    });
    req.on('upgrade', (_res, socket, head) => resolve({ socket, head }));
    req.end();
  });
}

/** Answers such a request; false when it is none. */
export function takeUpgrade(req: IncomingMessage, socket: Duplex): boolean {
  const asked = req.headers.upgrade === UPGRADE;
  if (asked)
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${UPGRADE}\r\n\r\n`);
  else socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
  return asked;
}

function converse(socket: Duplex, head: Buffer, options: ExecOptions): Promise<number> {
  const { namespace, pod, container, argv, stdin, stdout, stderr, terminal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const output = createBrake({ stop: () => socket.pause(), go: () => socket.resume() });
  const read = createFrameReader((type, payload) => {
    if (type === Frame.stdout) output.write(stdout, payload);
    else if (type === Frame.stderr) output.write(stderr, payload);
    else if (type === Frame.exit) resolve(Number(payload.toString()));
    else if (type === Frame.failed) reject(asError(payload));
  });
  const feed = (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      reject(error);
    }
  };
  socket.on('data', feed);
  socket.on('error', reject);
  socket.on('close', () =>
    reject(
      new HeddleError('ExecFailed', 'the connection to the agent broke off', {
        hint: 'it was restarted; run the command again',
      }),
    ),
  );
  const start: ExecStart = {
    namespace,
    pod,
    ...(container ? { container } : {}),
    ...(argv ? { argv } : {}),
    stdin: stdin !== undefined,
    tty: terminal !== undefined,
  };
  socket.write(encodeFrame(Frame.start, JSON.stringify(start)));
  terminal?.onResize((size) => {
    if (socket.writable) socket.write(encodeFrame(Frame.resize, JSON.stringify(size)));
  });
  if (head.length > 0) feed(head);
  if (stdin) sendInput(stdin, socket);
  else socket.write(encodeFrame(Frame.stdinEnd));
  return promise;
}

function sendInput(stdin: Readable, socket: Duplex): void {
  const input = createBrake({ stop: () => stdin.pause(), go: () => stdin.resume() });
  stdin.on('data', (chunk: Buffer | string) => {
    for (let bytes = Buffer.from(chunk as Buffer), at = 0; at < bytes.length; at += MAX_PAYLOAD)
      input.write(socket, encodeFrame(Frame.stdin, bytes.subarray(at, at + MAX_PAYLOAD)));
  });
  const end = () => {
    if (socket.writable) socket.write(encodeFrame(Frame.stdinEnd));
  };
  stdin.on('end', end);
  stdin.on('error', end);
}

export function asError(payload: Buffer): HeddleError {
  const { code, message, hint } = JSON.parse(payload.toString()) as {
    code: string;
    message: string;
    hint?: string;
  };
  return new HeddleError(code, message, { hint });
}

/** Of a resize frame. @throws Error */
export function parseSize(payload: Buffer): TerminalSize {
  const { columns, rows } = JSON.parse(payload.toString()) as TerminalSize;
  const fits = (cells: number) => Number.isInteger(cells) && cells > 0 && cells < 65_536;
  if (fits(columns) && fits(rows)) return { columns, rows };
  throw new Error(`a terminal of ${columns} × ${rows}`);
}

/** Milliseconds between frames of nothing. */
const ASK_MS = 5000;

/** Stops reading from `socket`; the result goes on. In between its end is noticed by writing. */
export function pauseAndAsk(socket: Duplex): () => void {
  socket.pause();
  const asking = setInterval(() => {
    if (socket.writable) socket.write(encodeFrame(Frame.nothing));
    else clearInterval(asking);
  }, ASK_MS);
  return () => {
    clearInterval(asking);
    socket.resume();
  };
}

export const failedFrame = (error: unknown): Buffer =>
  encodeFrame(
    Frame.failed,
    JSON.stringify(
      error instanceof HeddleError
        ? { code: error.code, message: error.message, hint: error.hint }
        : { code: 'ExecFailed', message: errorText(error) },
    ),
  );
