/**
 * HTTP/1.1 to one API server under one or more addresses: keep-alive connections, TLS checked against the
 * server's name whatever address is dialled, kernel keep-alives to find dead peers.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type PeerCertificate, checkServerIdentity } from 'node:tls';
import { HeddleError, errnoCode } from '../lib/errors.ts';

export interface Endpoint {
  /** `https://10.240.0.2:6443`; a path is a prefix of every request's. */
  server: string;
  /** PEM. Unset: the system's authorities. */
  ca?: string;
  cert?: string;
  key?: string;
  /** Called for each request, so that a token may change. */
  token?: () => string | undefined;
  /** Name that the certificate must carry, if not the server's. */
  serverName?: string;
  insecure?: boolean;
  /** Dialled in turn instead of the server's host: `10.240.0.2`, `[fd00::2]:6443`. */
  dialAddresses?: readonly string[];
  /** Connections for requests; watches have their own. Default 16. */
  maxConnections?: number;
  userAgent?: string;
}

export interface Outgoing {
  method: string;
  /** With its query. */
  path: string;
  headers: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
  /** Milliseconds until the response's head. */
  headTimeoutMs: number;
  /** A connection of its own for a long answer. */
  long?: boolean;
}

export interface Transport {
  /** Resolves with the response's head. @throws HeddleError `ApiUnreachable`, `ApiTimeout` */
  open(request: Outgoing): Promise<http.IncomingMessage>;
  readonly describe: string;
  close(): void;
}

/** Idle time after which the kernel asks the peer, milliseconds; libuv then asks each second, ten times. */
const KEEP_ALIVE_MS = 10_000;

interface Target {
  host: string;
  port: string;
}

function targetsOf(url: URL, dial: readonly string[] = []): Target[] {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  const bare = (host: string) => host.replace(/^\[|\]$/g, '');
  if (dial.length === 0) return [{ host: bare(url.hostname), port }];
  return dial.map((text) => {
    if (isIP(text)) return { host: text, port };
    const own = new URL(`http://${text}`);
    return { host: bare(own.hostname), port: own.port || port };
  });
}

export function parseServer(server: string): URL {
  try {
    const url = new URL(server);
    if (url.protocol === 'https:' || url.protocol === 'http:') return url;
  } catch {
    // Falls through to the one message.
  }
  throw new HeddleError('BadServer', `"${server}" is not the URL of an API server`, {
    hint: 'expected https://host:port, as in "https://127.0.0.1:6443"',
  });
}

export function createTransport(endpoint: Endpoint): Transport {
  const url = parseServer(endpoint.server);
  const tls = url.protocol === 'https:';
  const targets = targetsOf(url, endpoint.dialAddresses);
  const name = endpoint.serverName ?? url.hostname.replace(/^\[|\]$/g, '');
  const common = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, scheduling: 'lifo' as const };
  const secure = {
    ca: endpoint.ca,
    cert: endpoint.cert,
    key: endpoint.key,
    rejectUnauthorized: endpoint.insecure !== true,
    servername: isIP(name) ? '' : name,
    checkServerIdentity: (_host: string, cert: PeerCertificate) => checkServerIdentity(name, cert),
  };
  const make = (maxSockets: number): http.Agent =>
    tls ? new https.Agent({ ...common, ...secure, maxSockets }) : new http.Agent({ ...common, maxSockets });
  const short = make(endpoint.maxConnections ?? 16);
  const long = make(Number.POSITIVE_INFINITY);
  const prefix = url.pathname.replace(/\/$/, '');
  let preferred = 0;

  function send(target: Target, outgoing: Outgoing): Promise<http.IncomingMessage> {
    const token = endpoint.token?.();
    return exchange((tls ? https : http).request, {
      outgoing,
      where: `${url.origin}${prefix}`,
      options: {
        agent: outgoing.long ? long : short,
        host: target.host,
        port: target.port,
        method: outgoing.method,
        path: `${prefix}${outgoing.path}`,
        headers: {
          host: url.host,
          'user-agent': endpoint.userAgent ?? 'heddle',
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...outgoing.headers,
        },
      },
    });
  }

  return {
    describe: url.origin,
    async open(outgoing) {
      let failure: unknown;
      for (let i = 0; i < targets.length; i++) {
        const index = (preferred + i) % targets.length;
        try {
          const response = await send(targets[index]!, outgoing);
          preferred = index;
          return response;
        } catch (error) {
          // Another address may only be tried when this one cannot have acted on the request.
          if (!neverSent(error) || outgoing.signal?.aborted) throw error;
          failure = error;
        }
      }
      throw failure;
    },
    close() {
      short.destroy();
      long.destroy();
    },
  };
}

const unsent = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ENETDOWN']);

/** Whether the connection failed before a byte of the request left. */
export function neverSent(error: unknown): boolean {
  if (!(error instanceof HeddleError) || error.code !== 'ApiUnreachable') return false;
  return unsent.has(errnoCode(error.cause) ?? '');
}

interface Exchange {
  outgoing: Outgoing;
  where: string;
  options: https.RequestOptions;
}

function exchange(request: typeof https.request, { outgoing, where, options }: Exchange) {
  const what = `${outgoing.method} ${where}${outgoing.path}`;
  return new Promise<http.IncomingMessage>((resolve, reject) => {
    if (outgoing.signal?.aborted) return reject(outgoing.signal.reason);
    const body = outgoing.body === undefined ? undefined : Buffer.from(outgoing.body);
    const sent = request(options);
    if (body) sent.setHeader('content-length', body.length);
    const onAbort = () => sent.destroy(outgoing.signal?.reason as Error);
    outgoing.signal?.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () => sent.destroy(timeoutError(what, outgoing.headTimeoutMs)),
      outgoing.headTimeoutMs,
    );
    sent.once('socket', (socket: Duplex & { setKeepAlive?(on: boolean, ms: number): void }) =>
      socket.setKeepAlive?.(true, KEEP_ALIVE_MS),
    );
    sent.once('response', (response) => {
      clearTimeout(timer);
      response.once('close', () => outgoing.signal?.removeEventListener('abort', onAbort));
      resolve(response);
    });
    // Stays for the life of the request: an error after the head is seen by whoever reads the response.
    sent.on('error', (error) => {
      clearTimeout(timer);
      outgoing.signal?.removeEventListener('abort', onAbort);
      if (outgoing.signal?.aborted || error instanceof HeddleError) reject(error);
      else reject(unreachable(what, error));
    });
    sent.end(body);
  });
}

const timeoutError = (what: string, ms: number) =>
  new HeddleError('ApiTimeout', `${what}: no answer within ${ms} ms`, {
    hint: 'the API server is overloaded, stopped, or a firewall drops its packets',
  });

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: is the cluster up?',
  ENOTFOUND: 'the name has no address: check the server in the kubeconfig',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another name: check server and tls-server-name',
  SELF_SIGNED_CERT_IN_CHAIN:
    'the kubeconfig belongs to another cluster: its authority did not sign this server',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the kubeconfig belongs to another cluster, or has no authority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the kubeconfig belongs to another cluster, or has no authority',
};

function unreachable(what: string, error: Error): HeddleError {
  const code = errnoCode(error) ?? '';
  return new HeddleError('ApiUnreachable', `${what} got no answer`, { hint: hints[code], cause: error });
}
