/**
 * Numbers for rules, tables and identities: 32 bits, never 0, drawn from a canonical text, so that every agent
 * gives the same text the same number before and after a restart.
 */

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
