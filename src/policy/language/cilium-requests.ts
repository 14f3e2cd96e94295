/** What requests on an allowed connection must be. */
import { KAFKA_KEYS, KAFKA_ROLES, KAFKA_TOPIC_KEYS } from '../../api/cilium-words.ts';
import type {
  CiliumHeaderMatch,
  CiliumHttpRule,
  CiliumKafkaRule,
  CiliumL7Rules,
} from '../../api/cilium-policy-types.ts';
import { errorText } from '../../lib/errors.ts';
import {
  anyText,
  exactly,
  fullMatch,
  type HeaderMatch,
  type HttpMatch,
  type KafkaMatch,
  type RequestMatch,
  type TextMatch,
} from '../request.ts';
import { readName } from './cilium-names.ts';
import type { Report } from './read.ts';

const KINDS = ['http', 'kafka', 'dns', 'l7proto', 'l7'] as const;

/** Null: nothing is asked of requests. Undefined: a part cannot be read. */
export function readRequests(
  rules: CiliumL7Rules | undefined,
  path: string,
  report: Report,
): RequestMatch[] | null | undefined {
  const given = KINDS.filter((name) => rules?.[name] !== undefined && rules[name] !== null);
  if (!rules || given.length === 0) return null;
  if (given.length > 1 || rules.l7proto !== undefined || rules.l7 !== undefined) {
    report(path, `needs one of http, kafka and dns, not ${given.join(' and ')}`);
    return undefined;
  }
  const read = [
    ...(rules.http ?? []).map((rule, i) => readHttp(rule, `${path}.http[${i}]`, report)),
    ...(rules.kafka ?? []).map((rule, i) => readKafka(rule, `${path}.kafka[${i}]`, report)),
    ...(rules.dns ?? []).map((name, i): RequestMatch[] | undefined => {
      const pattern = readName(name, `${path}.dns[${i}]`, report);
      return pattern && [{ type: 'dns', names: [pattern] }];
    }),
  ];
  const known = read.filter((each) => each !== undefined);
  if (known.length < read.length) return undefined;
  return known.length === 0 ? null : known.flat();
}

function readHttp(rule: CiliumHttpRule, path: string, report: Report): HttpMatch[] | undefined {
  const patterns = (['method', 'path', 'host'] as const).map((name) =>
    readPattern(rule[name], `${path}.${name}`, report),
  );
  const named = (rule.headers ?? []).map((text, i) => readHeader(text, `${path}.headers[${i}]`, report));
  const matched = (rule.headerMatches ?? []).map((match, i) =>
    readHeaderMatch(match, `${path}.headerMatches[${i}]`, report),
  );
  const headers = [...named, ...matched].filter((each) => each !== undefined);
  if (patterns.includes(undefined) || headers.length < named.length + matched.length) return undefined;
  const [method, target, host] = patterns.map((each) => each ?? undefined);
  return [{ type: 'http', method, target, host, ...(headers.length > 0 ? { headers } : {}) }];
}

/** Null: any text. */
function readPattern(source: string | undefined, path: string, report: Report): TextMatch | null | undefined {
  if (source === undefined || source === null || source === '') return null;
  try {
    return fullMatch(source);
  } catch (error) {
    report(path, `is no expression: ${errorText(error)}`);
    return undefined;
  }
}

/** `X-Name`, or `X-Name: value`. */
function readHeader(text: string, path: string, report: Report): HeaderMatch | undefined {
  const [, name = '', value = ''] = /^\s*([^\s:]+)\s*:?\s*(.*)$/.exec(text) ?? [];
  if (name !== '') return { name, value: value === '' ? anyText : exactly(value.trimEnd()) };
  report(path, `"${text}" is no header (expected X-Name or X-Name: value)`);
  return undefined;
}

function readHeaderMatch(
  { name, value, mismatch, secret }: CiliumHeaderMatch,
  path: string,
  report: Report,
): HeaderMatch | undefined {
  if (mismatch)
    report(`${path}.mismatch`, 'is refused: requests are not changed, and none passes only to be logged');
  if (secret) report(`${path}.secret`, 'is refused: values are not read from Secrets');
  if (!name) report(`${path}.name`, 'needs the name of a header');
  if (mismatch || secret || !name) return undefined;
  return { name, value: value ? exactly(value) : anyText };
}

/** A topic is asked for of requests that name topics; others of the rule pass without one. */
function readKafka(rule: CiliumKafkaRule, path: string, report: Report): KafkaMatch[] | undefined {
  const keys = readKafkaKeys(rule, path, report);
  if (keys === undefined) return undefined;
  const { apiVersion, topic, clientID } = rule;
  if (apiVersion && !/^\d{1,5}$/.test(apiVersion)) {
    report(`${path}.apiVersion`, `"${apiVersion}" is no number`);
    return undefined;
  }
  const match = {
    type: 'kafka',
    ...(apiVersion ? { apiVersion: Number(apiVersion) } : {}),
    ...(clientID ? { clientId: clientID } : {}),
  } as const;
  if (!topic) return [{ ...match, ...(keys ? { apiKeys: keys } : {}) }];
  const all = keys ?? Object.keys(KAFKA_KEYS);
  const [withTopic, without] = [true, false].map((has) =>
    all.filter((key) => KAFKA_TOPIC_KEYS.has(key) === has),
  );
  return [
    { ...match, apiKeys: withTopic ?? [], topic },
    { ...match, apiKeys: without ?? [] },
  ];
}

/** Null: every one. */
function readKafkaKeys({ role, apiKey }: CiliumKafkaRule, path: string, report: Report) {
  if (role && apiKey) {
    report(path, 'needs one of role and apiKey');
    return undefined;
  }
  if (role) {
    if (Object.hasOwn(KAFKA_ROLES, role)) return KAFKA_ROLES[role];
    report(`${path}.role`, `"${role}" is neither produce nor consume`);
    return undefined;
  }
  if (!apiKey) return null;
  const name = apiKey.toLowerCase();
  if (Object.hasOwn(KAFKA_KEYS, name)) return [name];
  report(`${path}.apiKey`, `"${apiKey}" is no request of Kafka’s`);
  return undefined;
}
