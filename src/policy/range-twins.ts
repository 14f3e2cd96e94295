/**
 * Long lists of ranges. Ranges that stand in the very same rules are told apart by none of them: one term does for all,
 * and whoever they hold for is of one class. Without it each range of a list would be a class, with entries in each table.
 */
import type { Block } from './blocks.ts';
import { compareText, type Rule } from './model.ts';
import { leavesOf, type Peer } from './peers.ts';

/** Shorter lists are left alone, so that what else is said of their ranges changes no identity. */
const LONG = 32;

/** Of a rule with a long list, the texts of its ranges; undefined: it has none. */
export function longListOf({ peers }: Rule): readonly string[] | undefined {
  if (!peers || peers.length < LONG) return undefined;
  const ranges = peers.filter(isPlainRange).map(({ text }) => text);
  return ranges.length < LONG ? undefined : ranges;
}

/** Each range of the long lists with the first of those that stand in the same rules: text → text. */
export function rangeTwins(rules: Iterable<Rule>, listed: ReadonlySet<string>): ReadonlyMap<string, string> {
  const places = new Map<string, string>();
  let number = 0;
  const note = (text: string) => {
    if (listed.has(text)) places.set(text, `${places.get(text) ?? ''} ${number}`);
  };
  for (const { peers } of new Set(rules)) {
    number++;
    const plain = new Set((peers ?? []).filter(isPlainRange).map(({ text }) => text));
    for (const text of plain) note(text);
    // Within an expression each stands for itself.
    for (const leaf of (peers ?? []).filter((peer) => !isPlainRange(peer)).flatMap(leavesOf)) {
      number++;
      note(leaf.text);
    }
  }
  const first = new Map<string, string>();
  for (const [text, where] of places) {
    const known = first.get(where);
    if (known === undefined || compareText(text, known) < 0) first.set(where, text);
  }
  return new Map([...places].map(([text, where]) => [text, first.get(where)!]));
}

/** One term for all that stand in the same rules. @param all is changed */
export function withTwins(all: Map<string, Block>, twins: ReadonlyMap<string, string>): Map<string, Block> {
  const ranges = Map.groupBy(twins, ([, first]) => first);
  for (const [first, own] of ranges)
    all.set(first, { ranges: own.flatMap(([text]) => all.get(text)!.ranges), except: [] });
  for (const [text, first] of twins) if (text !== first) all.delete(text);
  return all;
}

const isPlainRange = (peer: Peer): boolean => peer.type === 'block' && peer.except.length === 0;
