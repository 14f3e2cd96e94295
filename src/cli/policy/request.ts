/** Requests as users write them: `GET /x`, headers as curl takes them, claims of a token. */
import { HeddleError } from '../../lib/errors.ts';
import type { HttpRequest } from '../../policy/request.ts';
import type { Protocol } from '../../policy/world.ts';

export interface RequestWords {
  /** `GET /x?y`, `GET http://host/x` */
  readonly http?: string | undefined;
  /** `Name: value` */
  readonly headers?: readonly string[] | undefined;
  /** `name=value`; a value that begins with `[` or `{` is JSON. */
  readonly claims?: readonly string[] | undefined;
}

/** Undefined: no request, so that the connection is asked about. @throws HeddleError `BadFlag` */
export function requestOf(words: RequestWords, protocol: Protocol, flag = '--http'): HttpRequest | undefined {
  const { http, headers = [], claims = [] } = words;
  if (http === undefined) {
    if (headers.length + claims.length === 0) return undefined;
    throw new HeddleError('BadFlag', `headers and claims are of a request: ${flag} is missing`);
  }
  if (protocol !== 'TCP') throw new HeddleError('BadFlag', `${flag}: requests go over TCP, not ${protocol}`);
  const [, method, host, path] = /^([A-Z]+) (?:https?:\/\/([^/\s]+))?([/*]\S*)$/.exec(http) ?? [];
  if (method === undefined || path === undefined)
    throw new HeddleError('BadFlag', `${flag} "${http}": expected a method and a path, as in GET /x`);
  const given = headers.map(headerOf);
  const names = given.map(([name]) => name.toLowerCase());
  const own = given.find(([name]) => name.toLowerCase() === 'host')?.[1];
  const others = names.filter((name, i) => name !== 'host' && names.indexOf(name) === i);
  const valuesOf = (name: string) =>
    given.filter(([each]) => each.toLowerCase() === name).map(([, value]) => value);
  return {
    type: 'http',
    method,
    path,
    host: own ?? host,
    headers: Object.fromEntries(others.map((name) => [name, valuesOf(name).join(',')])),
    ...(claims.length > 0
      ? { claims: Object.fromEntries(claims.map(claimOf)) as Record<string, unknown> }
      : {}),
  };
}

function headerOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([^\s:]+):\s*(.*)$/.exec(text) ?? [];
  if (name !== undefined && value !== undefined) return [name, value.trim()];
  throw new HeddleError('BadFlag', `-H "${text}": expected a name and a value, as in X-Name: value`);
}

function claimOf(text: string): [name: string, value: unknown] {
  const at = text.indexOf('=');
  if (at <= 0) throw new HeddleError('BadFlag', `--claim "${text}": expected name=value, as in sub=ann`);
  const value = text.slice(at + 1);
  if (!/^[[{]/.test(value)) return [text.slice(0, at), value];
  try {
    return [text.slice(0, at), JSON.parse(value) as unknown];
  } catch (cause) {
    throw new HeddleError('BadFlag', `--claim "${text}": a list or an object is written as JSON`, { cause });
  }
}
