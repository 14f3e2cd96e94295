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
