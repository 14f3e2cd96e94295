/** What a proxy knows of a connection, or of a request on it. */
import { type Address, tryParseAddress } from '../../lib/ip.ts';
import type { HttpRequest, Request } from '../request.ts';
import { httpOf, withoutQuery } from '../request.ts';
import type { End, ResolvedFlow } from '../scene.ts';
import type { FlowPeer, WorldPod } from '../world.ts';
import type { Account, TlsMode } from './model.ts';
import { normalPath } from './path.ts';

export interface Facts {
  /** `bytes`: not HTTP. `unknown`: any request, or bytes. */
  readonly request: HttpFacts | 'bytes' | 'unknown';
  /** `cluster.local/ns/shop/sa/web`, as the peer's certificate says; undefined without one. */
  readonly principal: string | undefined;
  /** The service account that it names; undefined if it names none. */
  readonly account: Account | undefined;
  /** Undefined: not known, as of pods in files. */
  readonly source: Address | undefined;
  /** Null: not known before the request. */
  readonly remote: Address | undefined | null;
  readonly destination: Address | undefined;
  readonly port: number;
  /** Likewise. */
  readonly sni: string | undefined | null;
}

export interface HttpFacts {
  readonly method: string;
  readonly path: string;
  readonly host: string | undefined;
  header(name: string): string | undefined;
  /** Of the token that was verified; undefined without one. */
  readonly claims: Claims | undefined;
}

export type Claims = Readonly<Record<string, unknown>>;

/** The trust domain of every cluster. */
const TRUST_DOMAIN = 'cluster.local';

/** @param tls how the connection came */
export function factsOf(flow: ResolvedFlow, tls: NonNullable<FlowPeer['tls']>, mode: TlsMode): Facts {
  const { src, dst, port = 0, request, peer } = flow;
  const identity = tls === 'mutual' && mode !== 'DISABLE' ? identityOf(src, peer) : undefined;
  const http = request && httpFacts(request);
  return {
    request: http ?? (request ? 'bytes' : 'unknown'),
    principal: identity?.principal,
    account: identity?.account,
    source: src.address,
    remote: remoteOf(flow, http),
    destination: dst.address,
    port,
    sni: peer?.sni ?? (request ? undefined : null),
  };
}

interface Identity {
  readonly principal: string;
  readonly account: Account | undefined;
}

function identityOf(src: End, peer: FlowPeer | undefined): Identity | undefined {
  const { principal } = peer ?? {};
  if (principal !== undefined) return { principal, account: accountIn(principal) };
  return src.type === 'pod' ? ofPod(src.pod) : undefined;
}

const ofPods = new WeakMap<WorldPod, Identity>();

/** Pods say it of themselves, and do not change. */
function ofPod(pod: WorldPod): Identity {
  const known = ofPods.get(pod);
  if (known) return known;
  const { namespace, serviceAccount = 'default' } = pod;
  const principal = `${TRUST_DOMAIN}/ns/${namespace}/sa/${serviceAccount}`;
  const made = { principal, account: accountIn(principal) };
  ofPods.set(pod, made);
  return made;
}

function accountIn(principal: string): Account | undefined {
  const [, namespace, name] = /^[^/]+\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(principal) ?? [];
  return namespace === undefined || name === undefined ? undefined : { namespace, name };
}

/** Told, or the last of X-Forwarded-For, which the nearest proxy wrote, or who sends. */
function remoteOf({ src, request, peer }: ResolvedFlow, http: HttpFacts | undefined): Facts['remote'] {
  if (peer?.remote !== undefined) return tryParseAddress(peer.remote);
  if (!request) return null;
  const last = http?.header('x-forwarded-for')?.split(',').at(-1)?.trim();
  return (last === undefined ? undefined : tryParseAddress(last)) ?? src.address;
}

function httpFacts(request: Request): HttpFacts | undefined {
  const http = httpOf(request);
  if (!http) return undefined;
  const { method, host, claims } = http;
  const path = normalPath(http.path);
  let headers: ReadonlyMap<string, string> | undefined;
  return {
    method,
    path,
    host,
    header(name) {
      if (name === ':method') return method;
      if (name === ':path') return path + http.path.slice(withoutQuery(http.path).length);
      if (name === ':authority' || name === 'host') return host;
      headers ??= headersOf(http);
      return headers.get(name);
    },
    claims: claims && withLists(claims),
  };
}

const headersOf = ({ headers = {} }: HttpRequest): ReadonlyMap<string, string> =>
  new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

/** Claims that are lists with spaces between (RFC 8693 section 4.2) are matched one by one. */
function withLists(claims: Claims): Claims {
  const lists = ['scope', 'permission'].flatMap((name) => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    return typeof value === 'string' ? [[name, value.split(' ')] as const] : [];
  });
  return lists.length === 0 ? claims : { ...claims, ...Object.fromEntries(lists) };
}

/** Texts at a path of claims: the one there, or those of the list there. */
export function claimTexts(claims: Claims | undefined, names: readonly string[]): string[] {
  let value: unknown = claims;
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return [];
    value = (value as Claims)[name];
  }
  return (Array.isArray(value) ? value : [value]).filter((each) => typeof each === 'string');
}
