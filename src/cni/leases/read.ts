/** Small readers of `ipam` fields. Each says the field, its value and what was expected. */
import { isObject } from '../../lib/json.ts';
import { type Cidr, formatAddress, tryCanonical, tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { CniCode, CniError } from '../error.ts';
import type { CniRoute, Dns } from '../types.ts';

export type Fields = Readonly<Record<string, unknown>>;

export const wrong = (key: string, value: unknown, expected: string): CniError =>
  new CniError(CniCode.invalidConfig, `${key} ${JSON.stringify(value) ?? 'nothing'} is not ${expected}`);

export const unsupported = (key: string, value: unknown, why: string): CniError =>
  new CniError(CniCode.unsupportedField, `${key} ${JSON.stringify(value)} is not supported: ${why}`);

const absent = (value: unknown): boolean => value === undefined || value === null;

export function fieldsOf(value: unknown, key: string): Fields {
  if (absent(value)) return {};
  if (isObject(value)) return value;
  throw wrong(key, value, 'an object');
}

export function listOf(value: unknown, key: string): readonly unknown[] {
  if (absent(value)) return [];
  if (Array.isArray(value)) return value;
  throw wrong(key, value, 'a list');
}

export function booleanOf(value: unknown, key: string): boolean {
  if (absent(value)) return false;
  if (typeof value === 'boolean') return value;
  throw wrong(key, value, 'true or false');
}

/** Undefined where there is none, or an empty one. */
export function textOf(value: unknown, key: string): string | undefined {
  if (absent(value) || value === '') return undefined;
  if (typeof value === 'string') return value;
  throw wrong(key, value, 'a text');
}

export function textsOf(value: unknown, key: string): string[] {
  return listOf(value, key).map((text) => {
    if (typeof text === 'string') return text;
    throw wrong(key, value, 'a list of texts');
  });
}

export function numberOf(
  value: unknown,
  key: string,
  [least, most]: readonly [number, number],
): number | undefined {
  if (absent(value)) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw wrong(key, value, `a whole number from ${least} to ${most}`);
}

/** Canonical; undefined where there is none. */
export function addressOf(value: unknown, key: string): string | undefined {
  const text = textOf(value, key);
  if (text === undefined) return undefined;
  const address = tryCanonical(text);
  if (address) return address.text;
  throw wrong(key, value, 'an address such as 10.0.0.1 or fd00::1');
}

/** An address with the length of its network, as it is written: `10.0.0.5/24`. */
export function interfaceAddressOf(value: unknown, key: string): { address: string; network: Cidr } {
  const text = textOf(value, key) ?? '';
  const network = tryParseCidr(text);
  const address = tryParseAddress(text.split('/')[0] ?? '');
  if (network && address) return { address: `${formatAddress(address)}/${network.length}`, network };
  throw wrong(key, value, 'an address with a prefix length such as 10.0.0.5/24');
}

const ROUTE_FIELDS = ['dst', 'gw', 'priority', 'table'];

/** @throws CniError invalidConfig, unsupportedField */
export function routesOf(value: unknown, key: string): CniRoute[] {
  return listOf(value, key).map((each, index) => {
    const at = `${key}[${index}]`;
    const fields = fieldsOf(each, at);
    for (const [name, field] of Object.entries(fields))
      if (!ROUTE_FIELDS.includes(name) && !absent(field) && field !== 0)
        throw unsupported(`${at}.${name}`, field, `routes have ${ROUTE_FIELDS.join(', ')}`);
    const dst = tryParseCidr(textOf(fields['dst'], `${at}.dst`) ?? '');
    if (!dst) throw wrong(`${at}.dst`, fields['dst'], 'a range such as 0.0.0.0/0');
    const gw = addressOf(fields['gw'], `${at}.gw`);
    const priority = numberOf(fields['priority'], `${at}.priority`, [0, 0xffffffff]);
    const table = numberOf(fields['table'], `${at}.table`, [1, 0xffffffff]);
    return {
      dst: String(fields['dst']),
      ...(gw === undefined ? {} : { gw }),
      ...(priority === undefined ? {} : { priority }),
      ...(table === undefined ? {} : { table }),
    };
  });
}

export function dnsOf(value: unknown, key: string): Dns {
  const fields = fieldsOf(value, key);
  const lists = { nameservers: 0, search: 0, options: 0 };
  const domain = textOf(fields['domain'], `${key}.domain`);
  return {
    ...Object.fromEntries(
      Object.keys(lists).flatMap((name) => {
        const texts = textsOf(fields[name], `${key}.${name}`);
        return texts.length === 0 ? [] : [[name, texts]];
      }),
    ),
    ...(domain === undefined ? {} : { domain }),
  };
}
