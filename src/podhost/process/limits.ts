/** What a container may use of the machine. Pure. */
import { quantityValue } from '../../api/quantity.ts';
import type { Container } from './types.ts';

export interface Limits {
  memory?: number;
  cpu?: number;
}

/** Bytes and processors; undefined when it asks for no limit. */
export function limitsOf({ resources }: Container): Limits | undefined {
  const asked = resources?.limits ?? {};
  const value = (name: string) =>
    asked[name] === undefined ? undefined : quantityValue(String(asked[name]));
  const [memory, cpu] = [value('memory'), value('cpu')];
  if (memory === undefined && cpu === undefined) return undefined;
  return { ...(memory === undefined ? {} : { memory }), ...(cpu === undefined ? {} : { cpu }) };
}

export const unenforcedWords = (kinds: readonly string[]): string =>
  `limits of ${kinds.join(' and ')} are not set: no such controller of cgroup2 comes down to the pods of this machine`;
