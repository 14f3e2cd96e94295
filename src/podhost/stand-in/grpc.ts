/**
 * As much gRPC as an echo needs. Over HTTP/2, a message is one byte of flags, four of length, then the bytes
 * (gRPC over HTTP/2, "Length-Prefixed-Message"); the outcome is the trailer `grpc-status`.
 */
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** HealthCheckResponse { status: SERVING }: field 1, varint 1. */
const SERVING = frameMessage(Buffer.from([0x08, 0x01]));

export function frameMessage(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The first whole message of a body, or undefined. */
export function firstMessage(body: Buffer): Buffer | undefined {
  if (body.length < 5) return undefined;
  const length = body.readUInt32BE(1);
  return body.length >= 5 + length ? body.subarray(5, 5 + length) : undefined;
}

/** Codes of an RPC that failed, as gRPC numbers them. */
export const GRPC_CODES = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** Only a status: `grpc-message` is percent-encoded (gRPC over HTTP/2, "Responses"). */
export function failGrpc(
  req: Http2ServerRequest,
  res: Http2ServerResponse,
  extra: Readonly<Record<string, string>>,
  failure: { code: number; message: string },
): void {
  res.on('error', () => {});
  req.resume();
  res.addTrailers({
    'grpc-status': String(failure.code),
    'grpc-message': encodeURIComponent(failure.message).replaceAll('%20', ' '),
  });
  res.writeHead(200, { 'content-type': 'application/grpc', ...extra });
  res.end();
}

/** What probes ask of; a call of it is not one of the application. */
export const isHealth = (path: string): boolean => path.startsWith('/grpc.health.v1.Health/');

/** Health is answered; any other method sends each message back, so streams of every shape work. */
export function answerGrpc(
  req: Http2ServerRequest,
  res: Http2ServerResponse,
  extra: Readonly<Record<string, string>>,
): void {
  res.on('error', () => {});
  res.addTrailers({ 'grpc-status': '0' });
  res.writeHead(200, { 'content-type': 'application/grpc', ...extra });
  if (req.url === '/grpc.health.v1.Health/Check') {
    req.resume();
    res.end(SERVING);
  } else if (req.url === '/grpc.health.v1.Health/Watch') {
    req.resume();
    res.write(SERVING);
  } else req.pipe(res);
}
