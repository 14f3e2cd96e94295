/** JSON over HTTP on a Unix socket: how the parts of one machine talk to each other. */
import { request } from 'node:http';
import { HeddleError, errnoCode } from './errors.ts';

export interface SocketCall {
  socketPath: string;
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  body?: unknown;
  /** Milliseconds until the call is given up. Default 10,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * The answer's JSON body.
 * @throws HeddleError `SocketCall` when nobody answers or the answer is no success.
 */
export async function callSocket<T>(call: SocketCall): Promise<T> {
  const { status, text } = await exchange(call).catch((error: unknown) => {
    throw new HeddleError('SocketCall', `no answer on ${call.socketPath} to ${describe(call)}`, {
      hint: hintFor(errnoCode(error)),
      cause: error,
    });
  });
  if (status >= 200 && status < 300) return (text === '' ? undefined : JSON.parse(text)) as T;
  throw new HeddleError(
    'SocketCall',
    `${call.socketPath} answered ${status} to ${describe(call)}: ${text.trim()}`,
  );
}

const describe = (call: SocketCall): string => `${call.method ?? 'GET'} ${call.path}`;

function hintFor(errno: string | undefined): string {
  if (errno === 'ENOENT' || errno === 'ECONNREFUSED')
    return 'the process behind it is not running; "heddle status" shows which are';
  if (errno === 'EACCES') return 'the socket belongs to root; run as root';
  return 'the process behind it may be overloaded or starting; see its log in the data directory';
}

function exchange(call: SocketCall): Promise<{ status: number; text: string }> {
  const payload = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers =
    payload === undefined
      ? {}
      : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
  return new Promise((resolve, reject) => {
    const req = request(
      {
        socketPath: call.socketPath,
        method: call.method ?? 'GET',
        path: call.path,
        headers,
        timeout: call.timeoutMs ?? 10_000,
        signal: call.signal,
        agent: false,
      },
      (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () =>
          resolve({ status: res.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
        );
      },
    );
    req.on('timeout', () => req.destroy(new Error(`no answer within ${call.timeoutMs ?? 10_000} ms`)));
    req.on('error', reject);
    req.end(payload);
  });
}
