/** One run of a probe as a kubelet does it: from the node, to the pod's address. */
import { request } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { formatHostPort } from '../../lib/ip.ts';
import type { Probe } from '../ports.ts';
import { firstMessage, frameMessage } from '../stand-in/grpc.ts';

export interface CheckDeps {
  /** False for stand-ins: a connection will do where a probe wants TLS. */
  speaksTls?: boolean;
  /** From the node's namespace. */
  connectTcp(options: { host: string; port: number; timeoutMs: number }): Promise<Socket>;
}

export interface Target {
  address: string;
  port: number;
  timeoutMs: number;
}

/** Undefined when the probe passed, else what was wrong. */
export async function check(probe: Probe, target: Target, deps: CheckDeps): Promise<string | undefined> {
  let socket: Socket | undefined;
  const timer = AbortSignal.timeout(target.timeoutMs);
  try {
    // A stand-in has no program to run a command.
    if (probe.exec) return undefined;
    socket = await deps.connectTcp({
      host: hostOf(probe, target),
      port: target.port,
      timeoutMs: target.timeoutMs,
    });
    if (probe.grpc) return await grpcHealth(socket, probe.grpc.service ?? '', target, timer);
    if (!probe.httpGet) return undefined;
    if (probe.httpGet.scheme !== 'HTTPS') return await httpGet(socket, probe, target, timer);
    // As a kubelet: whose certificate it is does not matter.
    if (deps.speaksTls)
      return await httpGet(connectTls({ socket, rejectUnauthorized: false }), probe, target, timer);
    return undefined;
  } catch (error) {
    return timer.aborted
      ? `no answer within ${target.timeoutMs} ms`
      : error instanceof Error
        ? error.message
        : String(error);
  } finally {
    socket?.destroy();
  }
}

const hostOf = (probe: Probe, target: Target): string =>
  probe.httpGet?.host ?? probe.tcpSocket?.host ?? target.address;

function httpGet(
  socket: Socket,
  probe: Probe,
  target: Target,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { path = '/', httpHeaders = [] } = probe.httpGet!;
  const headers: Record<string, string> = {
    host: formatHostPort(target.address, target.port),
    'user-agent': 'kube-probe/1.35',
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of httpHeaders) headers[name.toLowerCase()] = value;
  return new Promise((resolve, reject) => {
    const req = request({ createConnection: () => socket, path, headers, signal });
    req.on('error', reject);
    req.on('response', (res) => {
      const status = res.statusCode ?? 0;
      resolve(status >= 200 && status < 400 ? undefined : `HTTP probe failed with statuscode: ${status}`);
      res.on('error', () => {});
      res.resume();
    });
    req.end();
  });
}

/** Seven bits a byte, the lowest first (protobuf). */
const varint = (value: number): Buffer =>
  value < 0x80
    ? Buffer.from([value])
    : Buffer.concat([Buffer.from([(value & 0x7f) | 0x80]), varint(value >>> 7)]);

/** grpc.health.v1.Health/Check; HealthCheckRequest is { 1: service }, HealthCheckResponse { 1: status }. */
function grpcHealth(
  socket: Socket,
  service: string,
  target: Target,
  signal: AbortSignal,
): Promise<string | undefined> {
  const authority = formatHostPort(target.address, target.port);
  const session = connectHttp2(`http://${authority}`, { createConnection: () => socket });
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a]), varint(name.length), name]);
  return new Promise<string | undefined>((resolve, reject) => {
    session.on('error', reject);
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': '/grpc.health.v1.Health/Check',
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'kube-probe/1.35',
      },
      { signal },
    );
    const chunks: Buffer[] = [];
    let outcome = '';
    stream.on('error', reject);
    stream.on('response', (headers) => {
      outcome = String(headers['grpc-status'] ?? '');
    });
    stream.on('trailers', (trailers) => {
      outcome = String(trailers['grpc-status'] ?? '');
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      const answer = firstMessage(Buffer.concat(chunks));
      const serving = answer?.[0] === 0x08 && answer[1] === 1;
      resolve(
        outcome === '0' && serving
          ? undefined
          : `gRPC health is not SERVING (grpc-status ${outcome || 'missing'})`,
      );
    });
    stream.end(frameMessage(message));
  }).finally(() => session.destroy());
}
