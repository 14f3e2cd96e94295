/** One call of a stand-in: its pod's resolver, its pod's namespace, the faster of two families, one answer. */
import { request } from 'node:http';
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import { formatHostPort } from '../../lib/ip.ts';
import { race } from '../probe/happy-eyeballs.ts';
import { lookup, type Resolver } from '../probe/resolve.ts';
import type { CallTarget } from './behaviour.ts';
import { frameMessage } from './grpc.ts';
import type { CallReport, Echo } from './types.ts';

export interface CallDeps {
  resolv: Resolver;
  /** Both open their socket in the pod's namespace. */
  connectTcp(to: { host: string; port: number; timeoutMs: number; signal: AbortSignal }): Promise<Socket>;
  bindUdp(family: 4 | 6): number;
  /** Monotonic milliseconds. */
  now(): number;
}

/** Bytes of an answer that are read. */
const MAX_ANSWER = 1 << 20;
/** Characters that are repeated of an answer that is not a stand-in's. */
const MAX_WORDS = 256;
/** Milliseconds for a name server, all its retries included. */
const RESOLVE_MS = 5000;
/** Longer than anybody waits: calls end by their signal. */
const NEVER_MS = 120_000;

/** Metadata of gRPC that carries a stand-in's Echo to one that called it; base64 as its name says. */
export const ECHO_METADATA = 'heddle-echo-bin';

/** Never rejects: a refusal is a result. When `signal` aborts, all it opened is closed. */
export async function call(
  target: CallTarget,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  deps: CallDeps,
): Promise<CallReport> {
  const { url } = target;
  const attempts: string[] = [];
  const start = deps.now();
  const report: CallReport = { url, ms: 0, attempts };
  let socket: Socket | undefined;
  const over = new AbortController();
  const all = AbortSignal.any([signal, over.signal]);
  try {
    socket = await connect(target, attempts, all, deps);
    report.remote = { address: socket.remoteAddress ?? '', port: target.port };
    const ask = target.kind === 'grpc' ? askGrpc : askHttp;
    Object.assign(report, await ask(target, headers, socket, signal));
  } catch (error) {
    report.error = error instanceof Error ? error.message : String(error);
  } finally {
    // A question that still waits for its answer waits no more.
    over.abort(new Error('ECANCELED the call is over'));
    socket?.destroy();
  }
  return { ...report, ms: Math.round((deps.now() - start) * 10) / 10 };
}

async function connect(
  { host, port }: CallTarget,
  attempts: string[],
  signal: AbortSignal,
  deps: CallDeps,
): Promise<Socket> {
  const answers = await lookup(host, {
    conf: deps.resolv,
    bindUdp: deps.bindUdp,
    timeoutMs: RESOLVE_MS,
    signal,
  });
  return race<Socket>(answers, {
    attempt(address, cancelled) {
      attempts.push(address);
      return deps.connectTcp({ host: address, port, timeoutMs: NEVER_MS, signal: cancelled });
    },
    discard: (late) => void late.destroy(),
    after(ms, then) {
      const timer = setTimeout(then, ms);
      return { cancel: () => clearTimeout(timer) };
    },
    signal,
  });
}

type Answered = Pick<CallReport, 'status' | 'grpcStatus' | 'answer'>;

const authority = ({ host, port, kind }: CallTarget): string =>
  kind === 'http' && port === 80
    ? formatHostPort(host, port).replace(/:80$/, '')
    : formatHostPort(host, port);

function askHttp(
  target: CallTarget,
  headers: Readonly<Record<string, string>>,
  socket: Socket,
  signal: AbortSignal,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const req = request({
      createConnection: () => socket,
      path: target.path,
      headers: { host: authority(target), connection: 'close', 'user-agent': 'heddle-stand-in', ...headers },
      signal,
    });
    const fail = (error: Error) => reject(signal.aborted ? signal.reason : error);
    req.on('error', fail);
    // An upgrade that nobody asked for ends without an error.
    req.on('close', () => reject(new Error('ECONNRESET the connection ended before the answer')));
    req.on('response', (res) => {
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER) req.destroy(new Error('EMSGSIZE the answer is longer than 1 MiB'));
      });
      res.on('error', fail);
      res.on('end', () => resolve({ status: res.statusCode ?? 0, ...said(text) }));
    });
    req.end();
  });
}

function askGrpc(
  target: CallTarget,
  headers: Readonly<Record<string, string>>,
  socket: Socket,
  signal: AbortSignal,
): Promise<Answered> {
  return new Promise<Answered>((resolve, reject) => {
    const session = connectHttp2(`http://${authority(target)}`, { createConnection: () => socket });
    const fail = (error: Error) => reject(signal.aborted ? signal.reason : error);
    session.on('error', fail);
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': target.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'heddle-stand-in',
        ...headers,
      },
      { signal },
    );
    const answer: Answered = {};
    const take = (got: IncomingHttpHeaders) => {
      if (got['grpc-status'] !== undefined) answer.grpcStatus = Number(got['grpc-status']);
      const echo = got[ECHO_METADATA];
      if (typeof echo === 'string') Object.assign(answer, said(Buffer.from(echo, 'base64').toString('utf8')));
    };
    stream.on('error', fail);
    stream.on('response', (got) => {
      // gRPC has its own status; one of HTTP that is no 200 comes from something in between.
      if (got[':status'] !== 200) answer.status = got[':status'] ?? 0;
      take(got);
    });
    stream.on('trailers', take);
    stream.on('end', () => {
      if (answer.grpcStatus === undefined && answer.status === undefined)
        reject(new Error('EPROTO the answer has no grpc-status'));
      else resolve(answer);
      session.close();
    });
    stream.on('close', () => reject(new Error('ECONNRESET the stream ended early')));
    stream.resume();
    stream.end(frameMessage(Buffer.alloc(0)));
  });
}

/** A stand-in's answer as what it is, anybody else's as words. */
function said(text: string): { answer?: Echo | string } {
  if (text === '') return {};
  try {
    const echo = JSON.parse(text) as Echo;
    if (typeof echo === 'object' && echo !== null && 'pod' in echo && 'peer' in echo) return { answer: echo };
  } catch {
    // Not JSON.
  }
  return { answer: text.slice(0, MAX_WORDS) };
}
