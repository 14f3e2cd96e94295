/** One request, in the order in which it is looked at: who, may they, what is it, do it, answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Resource } from '../api/resource.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { METRICS_CONTENT_TYPE } from '../lib/metrics.ts';
import type { Authenticate, User } from './authenticate.ts';
import { authorize } from './authorize.ts';
import { type Body, readBody } from './body.ts';
import type { Answer, Call, Deps } from './deps.ts';
import type { Discovery } from './discovery.ts';
import {
  ApiFailure,
  badRequest,
  internalError,
  methodNotAllowed,
  noSuchPath,
  statusOf,
  tooManyRequests,
  unavailable,
} from './failure.ts';
import type { Instruments } from './instruments.ts';
import { openapiAnswer } from './openapi.ts';
import { openidAnswer } from './openid.ts';
import { requestInfo, type RequestInfo } from './request-info.ts';
import { review } from './reviews.ts';
import { podLog } from './verbs/pod-log.ts';
import { get, list } from './verbs/read.ts';
import { remove, removeCollection } from './verbs/remove.ts';
import { bind, evict, scale } from './verbs/subresources.ts';
import { requestToken } from './verbs/token.ts';
import { watch } from './verbs/watch.ts';
import { create, patch, update } from './verbs/write.ts';
import { healthAnswer, type Health } from './health.ts';
import { VERSION } from './version.ts';

export interface HandlerDeps extends Deps {
  readonly authenticate: Authenticate;
  readonly discovery: Discovery;
  readonly instruments: Instruments;
  readonly health: Health;
}

/** Requests under way besides watches; more are told to come back. */
const MAX_IN_FLIGHT = 400;

export const NO_BODY: Body = { text: '', type: '' };

export type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export function createHandler(deps: HandlerDeps): Handler {
  let inFlight = 0;
  return (request, response) => {
    const done = deps.instruments.start();
    let info: RequestInfo | undefined;
    const work = async () => {
      if (inFlight >= MAX_IN_FLIGHT) throw tooManyRequests();
      inFlight++;
      let counted = true;
      const leave = () => {
        if (counted) inFlight--;
        counted = false;
      };
      try {
        info = understand(request);
        await serve(deps, { request, response, info, leave });
      } finally {
        leave();
      }
    };
    work()
      .catch((error: unknown) => refuse(deps, response, error))
      .finally(() => done(info, response.statusCode));
  };
}

export function understand(request: IncomingMessage): RequestInfo {
  try {
    return requestInfo(request.method ?? 'GET', request.url ?? '/');
  } catch {
    throw badRequest('the path of the request has a broken escape');
  }
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly info: RequestInfo;
  /** Says that what follows is long and no longer counts as under way. */
  leave(): void;
}

async function serve(deps: HandlerDeps, exchange: Exchange): Promise<void> {
  const { request, response, info, leave } = exchange;
  const user = deps.authenticate(request);
  authorize(user, info);
  const plain = plainAnswer(deps, info, request);
  if (plain) return send(response, plain);
  const body = info.method === 'GET' || info.method === 'HEAD' ? NO_BODY : await readBody(request);
  const reviewed = review({ info, user, authenticate: deps.authenticate }, body);
  if (reviewed) return send(response, reviewed);
  const call = callOf(deps, exchange, user, body);
  if (isLog(call)) {
    leave();
    return deps.instruments.long(call.info, () => podLog(deps, call, response));
  }
  if (call.info.verb !== 'watch') return send(response, await dispatch(deps, call));
  leave();
  await deps.instruments.long(call.info, () => watch(deps, call, response));
}

const isLog = ({ info, resource }: Call): boolean =>
  info.subresource === 'log' && resource.kind.kind === 'Pod' && info.name !== '';

function plainAnswer(
  deps: HandlerDeps,
  { method, path }: RequestInfo,
  request: IncomingMessage,
): Answer | undefined {
  if (method !== 'GET' && method !== 'HEAD') return undefined;
  const health = healthAnswer(deps.health, path);
  if (health) return health;
  const trimmed = path.length > 1 ? path.replace(/\/+$/, '') : path;
  if (trimmed === '/version') return { code: 200, body: VERSION };
  if (trimmed === '/metrics')
    return { code: 200, body: deps.metrics.text(), contentType: METRICS_CONTENT_TYPE };
  const keys = deps.accountTokens && openidAnswer(trimmed, deps.accountTokens);
  if (keys) return keys;
  const described = openapiAnswer(trimmed, deps.registry, request.headers.accept);
  if (described) return described;
  const found = deps.discovery.answer(trimmed, request.headers.accept);
  return found && { code: 200, ...found, headers: { vary: 'Accept' } };
}

export function callOf(
  deps: HandlerDeps,
  { request, response, info }: Pick<Exchange, 'request' | 'info'> & { response?: ServerResponse },
  user: User,
  body: Body,
): Call {
  const about = info.resource;
  if (!about) throw noSuchPath();
  const resource = find(deps.registry, about);
  const atCluster = about.namespace === '' || about.resource === 'namespaces';
  if (!resource || (!resource.kind.namespaced && !atCluster)) throw noSuchPath();
  const warnings = new Set<string>();
  return {
    info: resource.kind.namespaced ? about : { ...about, namespace: '' },
    resource,
    query: info.query,
    user,
    body: body.text,
    contentType: body.type,
    accept: request.headers.accept,
    warn(text) {
      warnings.add(`299 - ${headerText(text)}`);
      response?.setHeader('warning', [...warnings]);
    },
  };
}

/** Quoted, and in the characters that a header may hold. */
function headerText(text: string): string {
  const quoted = JSON.stringify(text.slice(0, 1000));
  return quoted.replaceAll(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

const find = (
  registry: readonly Resource[],
  { group, version, resource }: { group: string; version: string; resource: string },
) =>
  registry.find(({ kind }) => kind.resource === resource && kind.group === group && kind.version === version);

/** Subresources that are the object itself, of which they change a part. */
const PARTS = {
  ephemeralcontainers: { kind: 'Pod', verbs: ['get', 'update', 'patch'] },
  finalize: { kind: 'Namespace', verbs: ['update', 'patch'] },
};

async function changePart(deps: Deps, call: Call, part: { kind: string; verbs: string[] }): Promise<Answer> {
  if (call.resource.kind.kind !== part.kind) throw noSuchPath();
  if (!part.verbs.includes(call.info.verb)) throw methodNotAllowed();
  return verb(deps, call);
}

async function dispatch(deps: Deps, call: Call): Promise<Answer> {
  const { info, resource } = call;
  const needsNamespace = resource.kind.namespaced && info.namespace === '';
  if (needsNamespace && info.name !== '') throw noSuchPath();
  switch (info.subresource) {
    case '':
      return verb(deps, call);
    case 'status':
      if (!resource.hasStatus) throw noSuchPath();
      if (!['get', 'update', 'patch'].includes(info.verb)) throw methodNotAllowed();
      return verb(deps, call);
    case 'ephemeralcontainers':
    case 'finalize':
      return changePart(deps, call, PARTS[info.subresource]);
    case 'scale':
      return scale(deps, call);
    case 'binding':
    case 'eviction':
      if (resource.kind.kind !== 'Pod') throw noSuchPath();
      if (info.verb !== 'create') throw methodNotAllowed();
      return info.subresource === 'binding' ? bind(deps, call) : evict(deps, call);
    case 'token':
      if (resource.kind.kind !== 'ServiceAccount') throw noSuchPath();
      if (info.verb !== 'create') throw methodNotAllowed();
      return requestToken(deps, call);
    default:
      throw noSuchPath();
  }
}

async function verb(deps: Deps, call: Call): Promise<Answer> {
  const { verb, name } = call.info;
  // PUT, PATCH to a collection and POST to an object are no requests that Kubernetes knows.
  if ((verb === 'update' || verb === 'patch') && name === '') throw methodNotAllowed();
  switch (verb) {
    case 'get':
      return get(deps, call);
    case 'list':
      return list(deps, call);
    case 'create':
      return create(deps, call);
    case 'update':
      return update(deps, call);
    case 'patch':
      return patch(deps, call);
    case 'delete':
      return remove(deps, call);
    case 'deletecollection':
      if (call.resource.kind.namespaced && call.info.namespace === '') throw methodNotAllowed();
      return removeCollection(deps, call);
    default:
      throw methodNotAllowed();
  }
}

function send(
  response: ServerResponse,
  { code, body, contentType = 'application/json', headers = {} }: Answer,
): void {
  const text = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  response.writeHead(code, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-cache, private',
    ...headers,
  });
  response.end(text);
}

function refuse({ log }: Deps, response: ServerResponse, error: unknown): void {
  // Nobody is left to be told: the client went away.
  if (response.destroyed) return;
  const failure = failureOf(error);
  if (failure.code >= 500 && !(error instanceof ApiFailure))
    log.error('request failed', {
      error: errorText(error),
      stack: error instanceof Error ? error.stack : '',
    });
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const retry = failure.details?.retryAfterSeconds;
  send(response, {
    code: failure.code,
    body: statusOf(failure),
    // What is left of an unread body would be taken for the next request.
    headers: {
      ...(failure.code === 413 ? { connection: 'close' } : {}),
      ...(retry ? { 'retry-after': String(retry) } : {}),
    },
  });
}

export function failureOf(error: unknown): ApiFailure {
  if (error instanceof ApiFailure) return error;
  if (error instanceof HeddleError && error.code === 'StoreFailed') return unavailable(error.message);
  if (error instanceof HeddleError)
    return internalError(error.hint ? `${error.message} (${error.hint})` : error.message);
  return internalError('unexpected failure; the API server’s log has it');
}
