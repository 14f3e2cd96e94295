/**
 * Numbers for rules, tables and identities: 32 bits, never 0, drawn from a canonical text, so that every agent
 * gives the same text the same number before and after a restart.
 */
import { sha256 } from '../lib/sha256.ts';

/** FNV-1a over UTF-16 code units, with a final mix, because the low bits of FNV differ little for near texts. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  return hash >>> 0;
}

/** Of a long text a short one: nobody finds two texts with the same. */
export const fingerprint = (text: string): string => sha256(text).slice(0, 40);

/** Longer texts are known by their fingerprints. */
const LONG = 200;

export const shortened = (text: string): string =>
  text.length <= LONG ? text : `${text.slice(0, 40)}… ${fingerprint(text)}`;

/** Of rules: the upper half of the numbers is left to whoever needs a number for two rules at once. */
export const ruleHash = (text: string): number => hash32(text) >>> 1;

/** Of such pairs. */
export const pairHash = (text: string): number => (hash32(text) | 0x80000000) >>> 0;

/** Collisions go to the next free number, in the order of the texts, whatever order they came in. */
export function assignNumbers(
  texts: Iterable<string>,
  hash: (text: string) => number = hash32,
): Map<string, number> {
  const taken = new Set([0]);
  const numbers = new Map<string, number>();
  for (const text of [...new Set(texts)].sort()) {
    let number = hash(text);
    while (taken.has(number)) number = (number + 1) >>> 0;
    taken.add(number);
    numbers.set(text, number);
  }
  return numbers;
}

/** Numbers of a set of texts that changes a little at a time; at any moment those that `assignNumbers` gives. */
export interface Numberer {
  /** Holds a text once more. */
  retain(text: string): void;
  /** Lets go of it once. */
  release(text: string): void;
  /** Of a text that is held. */
  number(text: string): number;
  /** Grows when the number of a text may have changed that was held before and still is. */
  epoch(): number;
}

export function createNumberer(hash: (text: string) => number = hash32): Numberer {
  /** A text's hash is asked for each time that anything is compiled. */
  const holds = new Map<string, { count: number; readonly hash: number }>();
  const hashOf = (text: string): number => holds.get(text)?.hash ?? hash(text);
  const byHash = new Map<number, Set<string>>();
  /** Hashes that several texts have, or 0, which is nobody's number. */
  const clashes = new Set<number>();
  /** Texts near clashes: they alone may have another number than their hash. */
  let moved: ReadonlyMap<string, number> = new Map();
  let stale = false;
  let epoch = 0;

  function touch(at: number, texts: Set<string>): void {
    stale ||= clashes.size > 0;
    if (texts.size > (at === 0 ? 0 : 1)) clashes.add(at);
    else clashes.delete(at);
    stale ||= clashes.size > 0;
    if (texts.size === 0) byHash.delete(at);
    else byHash.set(at, texts);
  }

  function settle(): void {
    if (!stale) return;
    stale = false;
    const former = moved;
    moved = assignNumbers(clusters(clashes, byHash), hashOf);
    const differs = (text: string) =>
      holds.has(text) && (former.get(text) ?? hashOf(text)) !== (moved.get(text) ?? hashOf(text));
    if ([...former.keys(), ...moved.keys()].some(differs)) epoch++;
  }

  return {
    retain(text) {
      const known = holds.get(text);
      if (known) {
        known.count++;
        return;
      }
      const at = hash(text);
      holds.set(text, { count: 1, hash: at });
      touch(at, (byHash.get(at) ?? new Set()).add(text));
    },
    release(text) {
      const known = holds.get(text);
      if (known && known.count > 1) {
        known.count--;
        return;
      }
      const at = hashOf(text);
      holds.delete(text);
      const texts = byHash.get(at) ?? new Set();
      texts.delete(text);
      touch(at, texts);
    },
    number(text) {
      settle();
      return moved.get(text) ?? hashOf(text);
    },
    epoch() {
      settle();
      return epoch;
    },
  };
}

/** Texts whose number may not be their hash: those of a clash, and those in whose place they may come to be. */
function clusters(clashes: ReadonlySet<number>, byHash: ReadonlyMap<number, ReadonlySet<string>>): string[] {
  const found = new Set<string>();
  for (const start of clashes) {
    // As many numbers on from the clash as there are texts up to there (and 0 is taken).
    let room = 1;
    for (let offset = 0; offset < room; offset++) {
      const at = (start + offset) >>> 0;
      const texts = byHash.get(at);
      if (at === 0) room++;
      for (const text of texts ?? []) {
        found.add(text);
        room++;
      }
    }
  }
  return [...found];
}
