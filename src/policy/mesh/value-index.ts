/** Which tests of a value hold, found by the value: in time of what holds, not of how many tests there are. */
import { type Address, bits, type Cidr, type Family } from '../../lib/ip.ts';
import type { PathPattern, TextPattern } from './model.ts';
import { matchesPath } from './patterns.ts';

export type Hit = (test: number) => void;

/** Tests by what they ask for. */
export interface KeyIndex<K> {
  add(key: K, test: number): void;
  find(key: K, hit: Hit): void;
}

export function createKeyIndex<K>(): KeyIndex<K> {
  const lists = new Map<K, number[]>();
  return {
    add(key, test) {
      const list = lists.get(key);
      if (list) list.push(test);
      else lists.set(key, [test]);
    },
    find(key, hit) {
      const list = lists.get(key);
      if (list) for (const test of list) hit(test);
    },
  };
}

export interface TextIndex {
  add(pattern: TextPattern | PathPattern, test: number): void;
  find(text: string, hit: Hit): void;
}

/** Beginnings and ends are looked up by each of their lengths. Templates are asked one by one. */
export function createTextIndex(): TextIndex {
  const exact = createKeyIndex<string>();
  const ends = { prefix: new Map<number, KeyIndex<string>>(), suffix: new Map<number, KeyIndex<string>>() };
  const present: number[] = [];
  const templates: { readonly pattern: PathPattern; readonly test: number }[] = [];
  return {
    add(pattern, test) {
      if (pattern.how === 'present') present.push(test);
      else if (pattern.how === 'template') templates.push({ pattern, test });
      else if (pattern.how === 'exact') exact.add(pattern.value, test);
      else {
        const byLength = ends[pattern.how];
        const { length } = pattern.value;
        const index = byLength.get(length) ?? createKeyIndex<string>();
        byLength.set(length, index);
        index.add(pattern.value, test);
      }
    },
    find(text, hit) {
      exact.find(text, hit);
      for (const [length, index] of ends.prefix)
        if (length <= text.length) index.find(text.slice(0, length), hit);
      for (const [length, index] of ends.suffix)
        if (length <= text.length) index.find(text.slice(text.length - length), hit);
      if (text !== '') for (const test of present) hit(test);
      for (const { pattern, test } of templates) if (matchesPath(pattern, text)) hit(test);
    },
  };
}

/** Every range that holds an address, by each of their lengths. */
export function createRangeIndex(): KeyIndex<Cidr> & { within(address: Address, hit: Hit): void } {
  const byLength: Record<Family, Map<number, KeyIndex<bigint>>> = { 4: new Map(), 6: new Map() };
  const at = (family: Family, length: number): KeyIndex<bigint> => {
    const index = byLength[family].get(length) ?? createKeyIndex<bigint>();
    byLength[family].set(length, index);
    return index;
  };
  return {
    add: ({ family, length, value }, test) => at(family, length).add(value, test),
    find: ({ family, length, value }, hit) => at(family, length).find(value, hit),
    within({ family, value }, hit) {
      for (const [length, index] of byLength[family]) {
        const shift = BigInt(bits(family) - length);
        index.find((value >> shift) << shift, hit);
      }
    },
  };
}
