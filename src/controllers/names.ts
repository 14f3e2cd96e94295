/** Names in the manner of Kubernetes' generateName: a prefix and letters that make no words. */
import { createHash, randomInt } from 'node:crypto';
import { canonicalJson } from '../lib/json.ts';

const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';
/** A label value holds no more, and pod names become label values. */
const MAX = 63;

const randomSuffix = (length = 5): string =>
  Array.from({ length }, () => LETTERS[randomInt(LETTERS.length)]).join('');

/** `web-` → `web-x7k2f`, 63 characters at most. */
export const generatedName = (prefix: string): string => prefix.slice(0, MAX - 5) + randomSuffix();

/** The same for equal values, whatever the order of their fields; letters and digits that make no words. */
export function contentHash(value: unknown, length = 10): string {
  const digest = createHash('sha256').update(canonicalJson(value)).digest();
  return [...digest.subarray(0, length)].map((byte) => LETTERS[byte % LETTERS.length]).join('');
}
