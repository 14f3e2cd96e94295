/** Typed requests over the transport: rate limit, retries that are safe, errors as ApiError. */
import type { IncomingMessage } from 'node:http';
import { type Kind, apiVersionOf } from '../api/kinds.ts';
import type { KubeObject } from '../api/types.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { errorFromBody } from './api-error.ts';
import { collectionPath, listQuery, objectPath, selectorQuery, withQuery } from './path.ts';
import { type RateLimit, createRateLimit } from './rate-limit.ts';
import { type Endpoint, type Transport, createTransport, neverSent } from './transport.ts';
import type { Client, DeleteOptions, List, ListOptions, RawResponse, RequestOptions } from './types.ts';
import { watchEvents } from './watch.ts';

export interface ClientOptions extends Omit<Endpoint, 'token'> {
  /** A bearer token, or what gives it for each request. */
  token?: string | (() => string | undefined);
  /** Requests a second on average, and at once. Defaults 200 and 400; watches do not count. */
  qps?: number;
  burst?: number;
  /** Milliseconds for a request that names no own limit. Default 30,000. */
  timeoutMs?: number;
  clock?: Clock;
}

/** Times that a request is sent again because the server said "later" (429, 503 with Retry-After). */
const MAX_LATER = 10;
/** The longest Retry-After that is waited for, milliseconds. */
const MAX_WAIT_MS = 30_000;
const MAX_BODY_BYTES = 256 * 1024 * 1024;

const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
} as const;

interface Deps {
  transport: Transport;
  limit: RateLimit;
  clock: Clock;
  timeoutMs: number;
}

export function createClient(options: ClientOptions): Client {
  const { token, qps = 200, burst = 2 * qps, timeoutMs = 30_000, clock = systemClock } = options;
  const transport = createTransport({ ...options, token: typeof token === 'string' ? () => token : token });
  return clientOver({ transport, limit: createRateLimit(qps, burst, clock), clock, timeoutMs });
}

function clientOver(deps: Deps): Client {
  const json = async (method: string, path: string, options: RequestOptions = {}): Promise<unknown> => {
    const response = await request(deps, method, path, options);
    const what = `${method} ${path}`;
    if (response.status >= 400) throw errorFromBody(response.status, response.text, what);
    return parseAnswer(response.text, `${method} ${deps.transport.describe}${path}`);
  };
  const typed = async <T>(kind: Kind<T>, method: string, path: string, options: RequestOptions) =>
    withType(kind, (await json(method, path, options)) as T);
  const nameOf = (object: unknown) => (object as KubeObject).metadata;

  return {
    async list<T>(kind: Kind<T>, options: ListOptions = {}) {
      const path = withQuery(collectionPath(kind, options.namespace), listQuery(options));
      return listFrom(kind, await json('GET', path, { signal: options.signal }), path);
    },
    get: (kind, name, namespace) => typed(kind, 'GET', objectPath(kind, name, namespace), {}),
    create: (kind, object) =>
      typed(kind, 'POST', collectionPath(kind, nameOf(object).namespace), { body: withType(kind, object) }),
    update(kind, object) {
      const { name, namespace } = nameOf(object);
      return typed(kind, 'PUT', objectPath(kind, name, namespace), { body: withType(kind, object) });
    },
    updateStatus(kind, object) {
      const { name, namespace } = nameOf(object);
      return typed(kind, 'PUT', objectPath(kind, name, namespace, 'status'), {
        body: withType(kind, object),
      });
    },
    patch(kind, name, namespace, patch, options = {}) {
      const { type = 'merge', subresource, fieldManager, signal } = options;
      const path = withQuery(objectPath(kind, name, namespace, subresource), { fieldManager });
      return typed(kind, 'PATCH', path, { body: patch, contentType: PATCH_TYPES[type], signal });
    },
    delete: (kind, name, namespace, options = {}) =>
      json('DELETE', objectPath(kind, name, namespace), {
        body: deleteBody(options),
        signal: options.signal,
      }),
    async deleteCollection(kind, options = {}) {
      const path = withQuery(collectionPath(kind, options.namespace), selectorQuery(options));
      await json('DELETE', path, { body: deleteBody(options), signal: options.signal });
    },
    watch: (kind, options, signal) => watchEvents(deps.transport, kind, options, signal),
    subresource: (method, kind, name, namespace, subresource, body) =>
      json(method, objectPath(kind, name, namespace, subresource), { body }),
    request: (method, path, options = {}) => request(deps, method, path, options),
    close: () => deps.transport.close(),
  };
}

function deleteBody(options: DeleteOptions): unknown {
  const { gracePeriodSeconds, propagationPolicy, preconditions } = options;
  if (gracePeriodSeconds === undefined && !propagationPolicy && !preconditions) return undefined;
  return { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds, propagationPolicy, preconditions };
}

/** Items of a typed list carry no kind of their own on the wire of some servers. */
function withType<T>(kind: Kind<T>, object: T): T {
  const typed = object as Partial<KubeObject>;
  if (typed.kind && typed.apiVersion) return object;
  return { apiVersion: apiVersionOf(kind), kind: kind.kind, ...object };
}

function listFrom<T>(kind: Kind<T>, answer: unknown, path: string): List<T> {
  const { items, metadata } = (answer ?? {}) as { items?: T[] | null; metadata?: Record<string, unknown> };
  if (!metadata || (items !== null && !Array.isArray(items)))
    throw new HeddleError('ApiBadAnswer', `GET ${path} was answered with something that is no list`);
  const text = (key: string) => (typeof metadata[key] === 'string' ? metadata[key] : '');
  const remaining = metadata['remainingItemCount'];
  return {
    items: (items ?? []).map((item) => withType(kind, item)),
    resourceVersion: text('resourceVersion'),
    ...(text('continue') ? { continue: text('continue') } : {}),
    ...(typeof remaining === 'number' ? { remainingItemCount: remaining } : {}),
  };
}

function parseAnswer(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new HeddleError('ApiBadAnswer', `${what} was answered with something that is no JSON`, {
      hint: 'is the server in the kubeconfig an API server?',
      cause: error,
    });
  }
}

async function request(deps: Deps, method: string, path: string, options: RequestOptions) {
  const { timeoutMs = deps.timeoutMs } = options;
  let lost = 0;
  for (let later = 0; ; ) {
    await deps.limit.acquire(options.signal);
    try {
      const answer = await once(deps, method, path, { ...options, timeoutMs });
      const wait = retryAfter(answer);
      if (wait === undefined || later++ >= MAX_LATER) return answer;
      await deps.clock.sleep(wait, options.signal);
    } catch (error) {
      // A kept connection may have been closed by the server just now: safe to repeat when nothing was sent
      // or nothing is changed. A server that is down is the caller's to wait for.
      const repeatable = method === 'GET' && error instanceof HeddleError && error.code === 'ApiUnreachable';
      if (!repeatable || neverSent(error) || options.signal?.aborted || lost++ >= 1) throw error;
    }
  }
}

function retryAfter({ status, headers }: RawResponse): number | undefined {
  if (status !== 429 && status !== 503) return undefined;
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? Math.min(MAX_WAIT_MS, seconds * 1000) : undefined;
}

async function once(
  deps: Deps,
  method: string,
  path: string,
  options: RequestOptions & { timeoutMs: number },
) {
  const { body, contentType = 'application/json', accept = 'application/json', timeoutMs } = options;
  const what = `${method} ${deps.transport.describe}${path}`;
  const response = await deps.transport.open({
    method,
    path,
    headers: { accept, ...(body === undefined ? {} : { 'content-type': contentType }) },
    body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    signal: options.signal,
    headTimeoutMs: timeoutMs,
  });
  const text = await readAll(response, what, timeoutMs);
  return { status: response.statusCode ?? 0, headers: response.headers, text } satisfies RawResponse;
}

async function readAll(response: IncomingMessage, what: string, timeoutMs: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => {
    const hint = 'the API server is overloaded, or the connection is broken';
    response.destroy(
      new HeddleError('ApiTimeout', `${what}: the answer did not end within ${timeoutMs} ms`, { hint }),
    );
  }, timeoutMs);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_BODY_BYTES)
        throw new HeddleError('ApiBadAnswer', `${what}: the answer is larger than ${MAX_BODY_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw new HeddleError('ApiUnreachable', `${what}: the connection was lost amid the answer`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
