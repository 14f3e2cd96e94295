/**
 * As much gRPC as an echo needs. Over HTTP/2, a message is one byte of flags, four of length, then the bytes
 * (gRPC over HTTP/2, "Length-Prefixed-Message"); the outcome is the trailer `grpc-status`.
 */
import type { ServerHttp2Stream } from 'node:http2';

/** HealthCheckResponse { status: SERVING }: field 1, varint 1. */
export const SERVING = frameMessage(Buffer.from([0x08, 0x01]));

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

/** Any other method sends each message back; streams of every shape work. */
export function answerGrpc(stream: ServerHttp2Stream, path: string, extra: Record<string, string>): void {
  const headers = { ':status': 200, 'content-type': 'application/grpc', ...extra };
  stream.respond(headers, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  if (path === '/grpc.health.v1.Health/Check') {
    stream.resume();
    stream.end(SERVING);
  } else if (path === '/grpc.health.v1.Health/Watch') {
    stream.resume();
    stream.write(SERVING);
  } else stream.pipe(stream);
}
