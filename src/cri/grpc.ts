/**
 * gRPC as a client of one unix socket, for calls of one message each way (PROTOCOL-HTTP2 of gRPC). A connection is made
 * when it is needed, and another one when the last has gone; no call is repeated, for whoever asked knows whether it may.
 */
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { createConnection } from 'node:net';
import { errnoCode, errorText } from '../lib/errors.ts';

/** Of the statuses of gRPC, those that are told apart. */
export const Status = {
  unknown: 2,
  deadlineExceeded: 4,
  notFound: 5,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

export class GrpcError extends Error {
  readonly status: number;

  constructor(status: number, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.status = status;
  }
}

export interface CallOptions {
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export interface Channel {
  /** `path`: `/package.Service/Method`. @throws GrpcError, and what `signal` aborts with */
  call(path: string, request: Uint8Array, options: CallOptions): Promise<Uint8Array>;
  close(): void;
}

/** Bytes of an answer: what a container runtime lists of some thousand containers is less. */
const MAX_ANSWER = 64 << 20;
/** Bytes before a message: a flag of compression, and the length. */
const PREFIX = 5;

interface Connection {
  readonly session: ClientHttp2Session;
  /** What broke it: for all calls that are under way, one listener. */
  broken?: unknown;
}

export function openChannel(socketPath: string): Channel {
  let now: Connection | undefined;

  function current(): Connection {
    if (now && !now.session.closed && !now.session.destroyed) return now;
    const session = connect('http://localhost', { createConnection: () => createConnection(socketPath) });
    const made: Connection = { session };
    const forget = () => {
      if (now === made) now = undefined;
    };
    session.on('error', (error) => {
      made.broken ??= error;
      forget();
    });
    session.on('goaway', forget);
    session.on('close', forget);
    return (now = made);
  }

  return {
    call(path, request, { timeoutMs, signal }) {
      signal?.throwIfAborted();
      return callOnce(current(), { path, request, timeoutMs, signal });
    },
    close() {
      now?.session.destroy();
      now = undefined;
    },
  };
}

interface Call extends CallOptions {
  path: string;
  request: Uint8Array;
}

function callOnce(connection: Connection, { path, request, timeoutMs, signal }: Call): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const stream = connection.session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': `${Math.min(99_999_999, Math.ceil(timeoutMs))}m`,
  });
  const answer = createAnswer();
  const fail = (error: unknown) => {
    reject(error instanceof Error ? error : new Error(String(error)));
    stream.close(constants.NGHTTP2_CANCEL);
  };
  const onAbort = () => fail(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(
    () => fail(new GrpcError(Status.deadlineExceeded, `no answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  /** What broke the connection says more than that the stream was closed. */
  let broken: unknown;
  stream.on('response', answer.head);
  stream.on('trailers', answer.head);
  stream.on('data', (chunk: Buffer) => {
    try {
      answer.take(chunk);
    } catch (error) {
      fail(error);
    }
  });
  stream.on('error', (error) => (broken ??= error));
  stream.on('close', () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    try {
      resolve(answer.end(broken ?? connection.broken));
    } catch (error) {
      reject(error);
    }
  });
  stream.end(framed(request));
  return promise;
}

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(PREFIX);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function createAnswer() {
  const chunks: Buffer[] = [];
  let size = 0;
  let http = '';
  let status: number | undefined;
  let words = '';
  return {
    /** Headers and trailers alike: an answer of an error has its status in the headers. */
    head(headers: IncomingHttpHeaders) {
      http = String(headers[':status'] ?? http);
      const text = headers['grpc-status'];
      if (text === undefined) return;
      status = Number(text);
      words = decodeWords(String(headers['grpc-message'] ?? ''));
    },
    take(chunk: Buffer) {
      size += chunk.length;
      if (size > MAX_ANSWER)
        throw new GrpcError(Status.resourceExhausted, `an answer of more than ${MAX_ANSWER} bytes`);
      chunks.push(chunk);
    },
    end(broken: unknown): Uint8Array {
      if (status === undefined) throw unfinished(http, broken);
      if (status !== 0) throw new GrpcError(status, words || `status ${status} of gRPC`);
      return unframed(Buffer.concat(chunks));
    },
  };
}

function unfinished(http: string, broken: unknown): GrpcError {
  if (http !== '' && http !== '200')
    return new GrpcError(Status.unimplemented, `it answers HTTP ${http}: that is no gRPC`);
  const why = broken === undefined ? 'the connection was closed before the answer' : whatBroke(broken);
  return new GrpcError(Status.unavailable, why, { cause: broken });
}

/** A stream that was never sent has what happened to its connection as its cause. */
function whatBroke(error: unknown): string {
  const root = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return errnoCode(root) ?? errorText(root);
}

function unframed(bytes: Buffer): Uint8Array {
  if (bytes.length < PREFIX || bytes.length !== PREFIX + bytes.readUInt32BE(1))
    throw new GrpcError(Status.internal, `${bytes.length} bytes are not one message`);
  if (bytes[0] !== 0) throw new GrpcError(Status.internal, 'the answer is compressed');
  return bytes.subarray(PREFIX);
}

/** Percent-encoded; what is not is taken as it is. */
function decodeWords(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
