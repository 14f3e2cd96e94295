/** Address ranges inside address ranges. */
import { type Address, type Cidr, contains, firstOf, formatCidr } from '../lib/ip.ts';
import { compareCidrs, createLpm } from './lpm.ts';

export interface Place<T> {
  readonly cidr: Cidr;
  readonly value: T;
}

/** Visits wider before narrower, with the narrowest of the visited that holds it. */
export function walkNested<T extends { cidr: Cidr }>(
  items: T[],
  visit: (item: T, around: T | undefined) => void,
): void {
  const stack: T[] = [];
  for (const item of items.sort((a, b) => compareCidrs(a.cidr, b.cidr))) {
    while (stack.length > 0 && !contains(stack.at(-1)!.cidr, firstOf(item.cidr))) stack.pop();
    visit(item, stack.at(-1));
    stack.push(item);
  }
}

export interface Block {
  readonly ranges: readonly Cidr[];
  readonly except: readonly Cidr[];
}

/** Each range that a block or an exception starts, with the names of the blocks that hold there. */
export function nestBlocks(blocks: ReadonlyMap<string, Block>) {
  const marks = new Map<string, { cidr: Cidr; adds: string[]; removes: string[] }>();
  const mark = (cidr: Cidr) => {
    const text = formatCidr(cidr);
    const known = marks.get(text) ?? { cidr, adds: [], removes: [] };
    marks.set(text, known);
    return known;
  };
  for (const [text, { ranges, except }] of blocks) {
    for (const range of ranges) mark(range).adds.push(text);
    for (const range of except) mark(range).removes.push(text);
  }
  const lpm = createLpm<readonly string[]>();
  const ranges: { cidr: Cidr; terms: readonly string[] }[] = [];
  const held = new Map<string, readonly string[]>();
  walkNested([...marks.values()], ({ cidr, adds, removes }, around) => {
    const outer = around ? held.get(formatCidr(around.cidr))! : noTerms;
    const terms = changed(outer, adds, removes);
    held.set(formatCidr(cidr), terms);
    lpm.set(cidr, terms);
    ranges.push({ cidr, terms });
  });
  const match = (address: Address, most?: number): readonly string[] => lpm.match(address, most) ?? noTerms;
  return { ranges, match };
}

/** The very same list where nothing changes in it. */
function changed(outer: readonly string[], adds: readonly string[], removes: readonly string[]) {
  const next = new Set(outer);
  for (const term of removes) next.delete(term);
  for (const term of adds) next.add(term);
  if (next.size === outer.length && outer.every((term) => next.has(term))) return outer;
  return [...next].sort();
}

/** One array, so that it can be told by identity. */
const noTerms: readonly string[] = [];
