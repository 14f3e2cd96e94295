/** The flow of a case: the words of `heddle policy explain`, as fields. */
import { HeddleError } from '../../lib/errors.ts';
import { isObject } from '../../lib/json.ts';
import type { Estate } from '../../policy/analyse/estate.ts';
import type { Flow } from '../../policy/world.ts';
import { type FlowWords, readFlow } from './flow-words.ts';
import { onlyKeys, type Part, refused, textOf } from './question-file.ts';

const TEXTS = ['port', 'protocol', 'sourcePort', 'icmp', 'dns', 'tls', 'principal', 'sni', 'remote'] as const;

export const FLOW_FIELDS: readonly string[] = [
  'from',
  'to',
  ...TEXTS,
  'http',
  'grpc',
  'kafka',
  'notHttp',
  'authorizers',
  'ipv6',
];

/** @throws HeddleError `BadManifest` */
export function flowOfCase(part: Part, estate: Estate, namespace: string): Flow {
  const texts = Object.fromEntries(
    TEXTS.flatMap((field) => (part.get(field) ? [[field, textOf(part, field)]] : [])),
  );
  const http = callOf(part, 'http');
  const grpc = callOf(part, 'grpc');
  const words: FlowWords = {
    from: textOf(part, 'from'),
    to: textOf(part, 'to'),
    ...texts,
    http: http?.text,
    grpc: grpc?.text,
    headers: [...(http?.headers ?? []), ...(grpc?.headers ?? [])],
    claims: [...(http?.claims ?? []), ...(grpc?.claims ?? [])],
    kafka: kafkaOf(part),
    notHttp: flagOf(part, 'notHttp'),
    ipv6: flagOf(part, 'ipv6'),
    authorizers: pairsOf(part, 'authorizers', 'authorizers').map(([name, answer]) => `${name}=${answer}`),
  };
  try {
    return readFlow(estate, words, namespace, (field) => field);
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== 'BadFlag') throw error;
    throw new HeddleError('BadManifest', `${part.file}:${part.line}: ${error.message}`, { hint: error.hint });
  }
}

interface Call {
  readonly text: string;
  readonly headers: readonly string[];
  readonly claims: readonly string[];
}

/** `GET /x`, or an object with it as `request`, and headers and claims. */
function callOf(part: Part, field: 'http' | 'grpc'): Call | undefined {
  const child = part.get(field);
  if (!child) return undefined;
  if (!isObject(child.value)) return { text: textOf(part, field), headers: [], claims: [] };
  onlyKeys(child, ['request', 'headers', 'claims']);
  return {
    text: textOf(child, 'request'),
    headers: pairsOf(child, 'headers', `${field}.headers`).map(([name, value]) => `${name}: ${value}`),
    claims: pairsOf(child, 'claims', `${field}.claims`).map(([name, value]) => `${name}=${value}`),
  };
}

/** `produce orders`, or an object with it as `request`, and topic, version and client. */
function kafkaOf(part: Part): string | undefined {
  const child = part.get('kafka');
  if (!child) return undefined;
  if (!isObject(child.value)) return textOf(part, 'kafka');
  onlyKeys(child, ['request', 'topic', 'version', 'client']);
  const pairs = ['version', 'client'].flatMap((key) =>
    child.get(key) ? [`${key}=${textOf(child, key)}`] : [],
  );
  return [textOf(child, 'request'), ...(child.get('topic') ? [textOf(child, 'topic')] : []), ...pairs].join(
    ' ',
  );
}

function pairsOf(part: Part, key: string, name: string): [string, string][] {
  const list = part.get(key);
  if (!list) return [];
  if (!isObject(list.value)) throw refused(list, `${name}: expected names and their values`);
  return Object.entries(list.value).map(([each, value]) => [
    each,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
}

function flagOf(part: Part, field: string): boolean {
  const child = part.get(field);
  if (!child) return false;
  if (typeof child.value === 'boolean') return child.value;
  throw refused(child, `${field}: expected true or false`);
}
