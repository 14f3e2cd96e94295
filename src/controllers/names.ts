/** Names in the manner of Kubernetes' generateName: a prefix and letters that make no words. */
import { createHash, randomInt } from 'node:crypto';

const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
/** A label value holds no more, and pod names become label values. */
const MAX = 63;

export const randomSuffix = (length = 5): string =>
  Array.from({ length }, () => LETTERS[randomInt(LETTERS.length)]).join('');

/** `web-` → `web-x7k2f`, 63 characters at most. */
export const generatedName = (prefix: string): string => prefix.slice(0, MAX - 5) + randomSuffix();

/** The same for equal values, whatever the order of their fields; letters and digits that make no words. */
export function contentHash(value: unknown, length = 10): string {
  const digest = createHash('sha256').update(canonical(value)).digest();
  return [...digest.subarray(0, length)].map((byte) => LETTERS[byte % LETTERS.length]).join('');
}

/** JSON with sorted keys and without members that are undefined. */
export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`);
  return `{${members.join(',')}}`;
}
