/** Requests as users write them: `GET /x`, headers as curl takes them, claims of a token; gRPC, DNS, Kafka. */
import { KAFKA_KEYS } from '../../api/cilium-words.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { GrpcRequest, HttpRequest, KafkaRequest, Request } from '../../policy/request.ts';
import type { Protocol } from '../../policy/world.ts';

export interface RequestWords {
  /** `GET /x?y`, `GET http://host/x` */
  readonly http?: string | undefined;
  /** `pkg.Service/Method` */
  readonly grpc?: string | undefined;
  /** A domain name. */
  readonly dns?: string | undefined;
  /** `produce orders`, `fetch orders version=3 client=billing`, `heartbeat` */
  readonly kafka?: string | undefined;
  /** Known to be something that no proxy reads. */
  readonly notHttp?: boolean | undefined;
  /** `Name: value`, of HTTP and gRPC. */
  readonly headers?: readonly string[] | undefined;
  /** `name=value`; a value that begins with `[` or `{` is JSON. Of HTTP and gRPC. */
  readonly claims?: readonly string[] | undefined;
}

/** How a field is called where the user wrote it: `--not-http`, `notHttp`. */
export type NameOf = (field: string) => string;

export const flagName: NameOf = (field) =>
  `--${field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

const KINDS = ['http', 'grpc', 'dns', 'kafka', 'notHttp'] as const;

/** Undefined: no request, so that the connection is asked about. @throws HeddleError `BadFlag` */
export function requestOf(
  words: RequestWords,
  protocol: Protocol,
  nameOf: NameOf = flagName,
): Request | undefined {
  const given = KINDS.filter((kind) => words[kind] !== undefined && words[kind] !== false);
  const { headers = [], claims = [] } = words;
  const [kind, other] = given;
  if (other)
    throw refuse(`${nameOf(kind!)} and ${nameOf(other)}: one flow carries one request; expected one of them`);
  const ofHttp = kind === 'http' || kind === 'grpc';
  if (!ofHttp && headers.length + claims.length > 0)
    throw refuse(`headers and claims are of a request: ${nameOf('http')} or ${nameOf('grpc')} is missing`);
  if (!kind) return undefined;
  if (protocol !== 'TCP' && !(kind === 'dns' && protocol === 'UDP'))
    throw refuse(
      `${nameOf(kind)}: such requests go over ${kind === 'dns' ? 'UDP or TCP' : 'TCP'}, not ${protocol}`,
    );
  switch (kind) {
    case 'http':
      return httpOf(words.http!, moreOf(headers, claims), nameOf(kind));
    case 'grpc':
      return grpcOf(words.grpc!, moreOf(headers, claims), nameOf(kind));
    case 'dns':
      return { type: 'dns', name: nameIn(words.dns!, nameOf(kind)) };
    case 'kafka':
      return kafkaOf(words.kafka!, nameOf(kind));
    default:
      return { type: 'bytes' };
  }
}

const refuse = (message: string, hint?: string): HeddleError =>
  new HeddleError('BadFlag', message, hint === undefined ? {} : { hint });

type More = Pick<HttpRequest, 'host' | 'headers' | 'claims'>;

function httpOf(text: string, more: More, name: string): HttpRequest {
  const [, method, host, path] = /^([A-Z]+) (?:https?:\/\/([^/\s]+))?([/*]\S*)$/.exec(text) ?? [];
  if (method === undefined || path === undefined)
    throw refuse(`${name} "${text}": expected a method and a path, as in GET /x`);
  return { type: 'http', method, path, ...more, host: more.host ?? host };
}

function grpcOf(text: string, more: More, name: string): GrpcRequest {
  const [, service, method] = /^\/?([\w.]+)\/(\w+)$/.exec(text) ?? [];
  if (service === undefined || method === undefined)
    throw refuse(`${name} "${text}": expected a service and a method, as in shop.v1.Cart/AddItem`);
  return { type: 'grpc', service, method, ...more };
}

function nameIn(text: string, name: string): string {
  if (/^[\w-]+(\.[\w-]+)*\.?$/.test(text) && text.length <= 254) return text;
  throw refuse(`${name} "${text}": expected a domain name, as in api.example.com`);
}

function kafkaOf(text: string, name: string): KafkaRequest {
  const [apiKey = '', ...words] = text.trim().split(/\s+/);
  const pairs = words
    .filter((word) => word.includes('='))
    .map((word) => word.split(/=(.*)/s) as [string, string]);
  const topics = words.filter((word) => !word.includes('='));
  const expected = `${name} "${text}": expected a request, its topic if it has one, version=N and client=ID, as in "produce orders"`;
  if (apiKey === '' || topics.length > 1 || pairs.some(([key]) => key !== 'version' && key !== 'client'))
    throw refuse(expected);
  if (!Object.hasOwn(KAFKA_KEYS, apiKey.toLowerCase()))
    throw refuse(
      `${name} "${text}": "${apiKey}" is no request of Kafka's`,
      `one of ${Object.keys(KAFKA_KEYS).join(', ')}`,
    );
  const { version, client } = Object.fromEntries(pairs);
  if (version !== undefined && !/^\d{1,5}$/.test(version)) throw refuse(expected);
  const [topic] = topics;
  return {
    type: 'kafka',
    apiKey: apiKey.toLowerCase(),
    ...(topic === undefined ? {} : { topic }),
    ...(version === undefined ? {} : { apiVersion: Number(version) }),
    ...(client === undefined ? {} : { clientId: client }),
  };
}

function moreOf(headers: readonly string[], claims: readonly string[]): More {
  const given = headers.map(headerOf);
  const names = given.map(([name]) => name.toLowerCase());
  const own = given.find(([name]) => name.toLowerCase() === 'host')?.[1];
  const others = names.filter((name, i) => name !== 'host' && names.indexOf(name) === i);
  const valuesOf = (name: string) =>
    given.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
  return {
    host: own,
    headers: Object.fromEntries(others.map((name) => [name, valuesOf(name).join(',')])),
    ...(claims.length > 0
      ? { claims: Object.fromEntries(claims.map(claimOf)) as Record<string, unknown> }
      : {}),
  };
}

function headerOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([^\s:]+):\s*(.*)$/.exec(text) ?? [];
  if (name !== undefined && value !== undefined) return [name, value.trim()];
  throw refuse(`-H "${text}": expected a name and a value, as in X-Name: value`);
}

function claimOf(text: string): [name: string, value: unknown] {
  const at = text.indexOf('=');
  if (at <= 0) throw refuse(`--claim "${text}": expected name=value, as in sub=ann`);
  const value = text.slice(at + 1);
  if (!/^[[{]/.test(value)) return [text.slice(0, at), value];
  try {
    return [text.slice(0, at), JSON.parse(value) as unknown];
  } catch (cause) {
    throw new HeddleError('BadFlag', `--claim "${text}": a list or an object is written as JSON`, { cause });
  }
}
