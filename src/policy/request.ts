/** One request on a connection, as a proxy reads it, and what rules say of requests. */
import { compileRegex } from '../lib/regex/regex.ts';

export type Request = HttpRequest | GrpcRequest | DnsRequest | KafkaRequest | BytesRequest;

/** Something that no proxy reads: the connection is known to carry none of the others. */
export interface BytesRequest {
  readonly type: 'bytes';
}

export interface HttpRequest {
  readonly type: 'http';
  readonly method: string;
  /** With its query, as sent: `/pay?id=1`. */
  readonly path: string;
  /** Authority, with its port if one was sent. */
  readonly host?: string | undefined;
  /** By name, in any case. Several values of one name are joined by commas. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of its token, verified by the proxy; absent without one. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

/** On the wire an HTTP POST to `/service/method`: rules for HTTP match it so. */
export interface GrpcRequest {
  readonly type: 'grpc';
  /** `payments.v1.Ledger` */
  readonly service: string;
  readonly method: string;
  readonly host?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of its token, verified by the proxy; absent without one. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined;
}

export interface DnsRequest {
  readonly type: 'dns';
  /** With or without its last dot, in any case. */
  readonly name: string;
}

export interface KafkaRequest {
  readonly type: 'kafka';
  /** By name, as `produce`, in any case. */
  readonly apiKey: string;
  readonly apiVersion?: number | undefined;
  readonly topic?: string | undefined;
  readonly clientId?: string | undefined;
}

/** A rule's word on requests. What it does not name may be anything. */
export type RequestMatch = HttpMatch | GrpcMatch | DnsMatch | KafkaMatch;

/** A text that matches, or does not. Made by `exactly`, `startsWith`, `endsWith`, `present`, `fullMatch`. */
export interface TextMatch {
  readonly matches: (text: string) => boolean;
  /** Equal texts match the same. */
  readonly text: string;
  /** The same as data, for those that are not here. */
  readonly form: TextForm;
}

export type TextForm =
  | { readonly is: 'any' | 'present' }
  | { readonly is: 'exact'; readonly values: readonly string[] }
  | { readonly is: 'prefix' | 'suffix'; readonly value: string }
  /** Of RE2 syntax, for the whole text. */
  | { readonly is: 'regex'; readonly value: string }
  /** A pattern of domain names: `*.example`. */
  | { readonly is: 'name'; readonly value: string }
  | { readonly is: 'lower-case'; readonly form: TextForm };

export interface HttpMatch {
  readonly type: 'http';
  readonly method?: TextMatch | undefined;
  /** Of the path without its query. */
  readonly path?: TextMatch | undefined;
  /** Of the path with its query, as sent. */
  readonly target?: TextMatch | undefined;
  readonly host?: TextMatch | undefined;
  /** All must hold. */
  readonly headers?: readonly HeaderMatch[] | undefined;
}

export interface HeaderMatch {
  /** In any case. */
  readonly name: string;
  /** A header that is not there matches nothing. */
  readonly value: TextMatch;
}

export interface GrpcMatch {
  readonly type: 'grpc';
  readonly service?: TextMatch | undefined;
  readonly method?: TextMatch | undefined;
  readonly host?: TextMatch | undefined;
  readonly headers?: readonly HeaderMatch[] | undefined;
}

export interface DnsMatch {
  readonly type: 'dns';
  /** One of them, of the name in lower case without its last dot. */
  readonly names: readonly TextMatch[];
}

export interface KafkaMatch {
  readonly type: 'kafka';
  /** Any of them, in lower case; absent = every one. */
  readonly apiKeys?: readonly string[] | undefined;
  readonly apiVersion?: number | undefined;
  readonly topic?: string | undefined;
  readonly clientId?: string | undefined;
}

export function matchesRequest(match: RequestMatch, request: Request): boolean {
  switch (match.type) {
    case 'http':
      return matchesHttp(match, request);
    case 'grpc':
      return matchesGrpc(match, request);
    case 'dns':
      return request.type === 'dns' && match.names.some((each) => each.matches(plainName(request.name)));
    default:
      return matchesKafka(match, request);
  }
}

function matchesHttp(match: HttpMatch, request: Request): boolean {
  const http = httpOf(request);
  if (!http) return false;
  const { method, path, target, host, headers } = match;
  return (
    (method?.matches(http.method) ?? true) &&
    (path?.matches(withoutQuery(http.path)) ?? true) &&
    (target?.matches(http.path) ?? true) &&
    (host === undefined || (http.host !== undefined && host.matches(http.host))) &&
    hasHeaders(headers, http.headers)
  );
}

function matchesGrpc(match: GrpcMatch, request: Request): boolean {
  if (request.type !== 'grpc') return false;
  const { service, method, host, headers } = match;
  return (
    (service?.matches(request.service) ?? true) &&
    (method?.matches(request.method) ?? true) &&
    (host === undefined || (request.host !== undefined && host.matches(request.host))) &&
    hasHeaders(headers, request.headers)
  );
}

function matchesKafka({ apiKeys, apiVersion, topic, clientId }: KafkaMatch, request: Request): boolean {
  if (request.type !== 'kafka') return false;
  return (
    (apiKeys === undefined || apiKeys.includes(request.apiKey.toLowerCase())) &&
    (apiVersion === undefined || apiVersion === request.apiVersion) &&
    (topic === undefined || topic === request.topic) &&
    (clientId === undefined || clientId === request.clientId)
  );
}

/** As HTTP carries it; undefined of what is not HTTP. */
export function httpOf(request: Request): HttpRequest | undefined {
  if (request.type === 'http') return request;
  if (request.type !== 'grpc') return undefined;
  const { service, method, host, headers, claims } = request;
  return { type: 'http', method: 'POST', path: `/${service}/${method}`, host, headers, claims };
}

export function withoutQuery(path: string): string {
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === QUESTION_MARK || code === HASH) return path.slice(0, i);
  }
  return path;
}

const QUESTION_MARK = 63;
const HASH = 35;

const plainName = (name: string): string => name.toLowerCase().replace(/\.$/, '');

function hasHeaders(
  wanted: readonly HeaderMatch[] | undefined,
  headers: HttpRequest['headers'] = {},
): boolean {
  if (wanted === undefined) return true;
  for (const { name, value } of wanted) {
    const text = headerOf(headers, name.toLowerCase());
    if (text === undefined || !value.matches(text)) return false;
  }
  return true;
}

/** Of names that differ in case alone the last counts. */
function headerOf(headers: NonNullable<HttpRequest['headers']>, name: string): string | undefined {
  let text: string | undefined;
  for (const key of Object.keys(headers))
    if (key.length === name.length && key.toLowerCase() === name) text = headers[key];
  return text;
}

export const exactly = (value: string): TextMatch => ({
  matches: (text) => text === value,
  text: `=${value}`,
  form: { is: 'exact', values: [value] },
});

export const startsWith = (value: string): TextMatch => ({
  matches: (text) => text.startsWith(value),
  text: `${value}*`,
  form: { is: 'prefix', value },
});

export const endsWith = (value: string): TextMatch => ({
  matches: (text) => text.endsWith(value),
  text: `*${value}`,
  form: { is: 'suffix', value },
});

/** The whole text, by an expression of RE2 syntax, in linear time. @throws HeddleError `BadRegex` */
export const fullMatch = (source: string): TextMatch => ({
  matches: compileRegex(source).fullMatch,
  text: `~${source}`,
  form: { is: 'regex', value: source },
});

/** Not empty. */
export const present: TextMatch = { matches: (text) => text !== '', text: '*', form: { is: 'present' } };

export const anyText: TextMatch = { matches: () => true, text: 'any', form: { is: 'any' } };

export const oneOf = (values: readonly string[]): TextMatch => ({
  matches: (text) => values.includes(text),
  text: [...new Set(values)].sort().join('|'),
  form: { is: 'exact', values },
});

/** Whatever the case of both. */
export const anyCase = ({ matches, text, form }: TextMatch): TextMatch => ({
  matches: (each) => matches(each.toLowerCase()),
  text: `${text} in any case`,
  form: { is: 'lower-case', form },
});
