/**
 * Ranges inside ranges, of blocks that come and go: which blocks hold where. A change walks only the ranges inside those
 * that have come or gone, and of them only those where something else holds now.
 */
import {
  type Address,
  bits,
  type Cidr,
  contains,
  type Family,
  firstOf,
  formatCidr,
  lastOf,
} from '../lib/ip.ts';
import type { Block } from './blocks.ts';
import { compareCidrs, createLpm } from './lpm.ts';

/** A range that a block or an exception starts. */
export interface Mark {
  readonly cidr: Cidr;
  /** Names of the blocks that hold there, where no narrower mark is. */
  readonly terms: readonly string[];
}

/** Inclusive; values as of `Address`. */
export interface Span {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

export interface RangeChange {
  /** New, or with other terms, or other terms are around them; each with the narrowest mark around it. */
  readonly touched: readonly { readonly mark: Mark; readonly around: Mark | undefined }[];
  readonly gone: readonly Mark[];
  /** Where other terms hold than before: disjoint. */
  readonly spans: readonly Span[];
}

export interface NestedRanges {
  /** @param gone names of blocks */
  change(gone: Iterable<string>, come: Iterable<readonly [string, Block]>): RangeChange;
  /** The narrowest. @param most the longest prefix that counts */
  match(address: Address, most?: number): Mark | undefined;
  /** Of a block. */
  rangesOf(name: string): readonly Cidr[];
  /** A mark comes after all that hold it. */
  marks(): readonly Mark[];
}

interface OwnMark extends Mark {
  terms: readonly string[];
  readonly adds: Set<string>;
  readonly removes: Set<string>;
}

/** More changes than this are made to the whole list at once. */
const FEW = 64;

/** One array, so that it can be told by identity. */
export const NO_TERMS: readonly string[] = [];

export function createNestedRanges(): NestedRanges {
  const blocks = new Map<string, Block>();
  let marks: OwnMark[] = [];
  const lpm = createLpm<OwnMark>();

  function insert(fresh: ReadonlySet<OwnMark>): void {
    for (const mark of fresh) lpm.set(mark.cidr, mark);
    if (fresh.size > FEW) marks = [...marks, ...fresh].sort((a, b) => compareCidrs(a.cidr, b.cidr));
    else for (const mark of fresh) marks.splice(placeOf(marks, mark.cidr), 0, mark);
  }

  function remove(empty: readonly OwnMark[]): void {
    for (const { cidr } of empty) lpm.delete(cidr);
    if (empty.length > FEW) marks = marks.filter((mark) => !isEmpty(mark));
    else for (const { cidr } of empty) marks.splice(placeOf(marks, cidr), 1);
  }

  /** Marks of which something has come or gone, and which of them are new. */
  function edit(gone: Iterable<string>, come: Iterable<readonly [string, Block]>) {
    const edited = new Map<string, OwnMark>();
    const fresh = new Set<OwnMark>();
    const markAt = (cidr: Cidr): OwnMark => {
      const text = formatCidr(cidr);
      const known = edited.get(text) ?? markOf(marks, cidr);
      const mark = known ?? { cidr, terms: NO_TERMS, adds: new Set(), removes: new Set() };
      if (!known) fresh.add(mark);
      edited.set(text, mark);
      return mark;
    };
    for (const name of gone) {
      const { ranges, except } = blocks.get(name) ?? { ranges: [], except: [] };
      for (const cidr of ranges) markAt(cidr).adds.delete(name);
      for (const cidr of except) markAt(cidr).removes.delete(name);
      blocks.delete(name);
    }
    for (const [name, block] of come) {
      for (const cidr of block.ranges) markAt(cidr).adds.add(name);
      for (const cidr of block.except) markAt(cidr).removes.add(name);
      blocks.set(name, block);
    }
    return { edited: [...edited.values()].sort((a, b) => compareCidrs(a.cidr, b.cidr)), fresh };
  }

  return {
    change(gone, come) {
      const { edited, fresh } = edit(gone, come);
      insert(fresh);
      const found: Found = { touched: [], spans: [] };
      let region: OwnMark | undefined;
      for (const mark of edited) {
        if (region && contains(region.cidr, firstOf(mark.cidr))) continue;
        region = mark;
        const around = lpm.match(firstOf(mark.cidr), mark.cidr.length - 1);
        walk({ marks, edited, fresh, region: mark.cidr, around }, found);
      }
      const empty = edited.filter(isEmpty);
      remove(empty);
      return { ...found, gone: empty };
    },
    match: lpm.match,
    rangesOf: (name) => blocks.get(name)?.ranges ?? [],
    marks: () => marks,
  };
}

interface Walk {
  /** With those of which nothing is left, so that it is known what held there. */
  readonly marks: readonly OwnMark[];
  readonly edited: readonly OwnMark[];
  readonly fresh: ReadonlySet<OwnMark>;
  /** Of an edited mark that is in no other. */
  readonly region: Cidr;
  readonly around: OwnMark | undefined;
}

interface Found {
  readonly touched: { mark: Mark; around: Mark | undefined }[];
  readonly spans: Span[];
}

interface Level {
  readonly cidr: Cidr;
  /** The narrowest that stays. */
  readonly mark: OwnMark | undefined;
  readonly was: readonly string[];
  readonly is: readonly string[];
}

/** From the wider to the narrower, in the order of addresses. */
function walk({ marks, edited, fresh, region, around }: Walk, { touched, spans }: Found): void {
  const { family } = region;
  const outer = around?.terms ?? NO_TERMS;
  const levels: Level[] = [{ cidr: region, mark: around, was: outer, is: outer }];
  let next = region.value;
  /** What is not yet told of is of the narrowest level. */
  const tellUntil = (end: bigint): void => {
    const { was, is } = levels.at(-1)!;
    if (was !== is && next < end) spans.push({ family, first: next, last: end - 1n });
    next = end;
  };
  const leave = (): void => {
    tellUntil(endOf(levels.at(-1)!.cidr));
    levels.pop();
  };
  for (let at = placeOf(marks, region); at < marks.length; ) {
    const mark = marks[at]!;
    const { cidr } = mark;
    const start = firstOf(cidr);
    if (!contains(region, start)) break;
    while (levels.length > 1 && !contains(levels.at(-1)!.cidr, start)) leave();
    tellUntil(cidr.value);
    const parent = levels.at(-1)!;
    const was = fresh.has(mark) ? parent.was : mark.terms;
    const is = sameOr(was, changed(parent.is, mark));
    mark.terms = is;
    if (!isEmpty(mark)) touched.push({ mark, around: parent.mark });
    if (was === is && !hasWithin(edited, cidr)) {
      next = endOf(cidr);
      at = placeAfter(marks, cidr);
    } else {
      levels.push({ cidr, mark: isEmpty(mark) ? parent.mark : mark, was, is });
      at++;
    }
  }
  while (levels.length > 1) leave();
}

const isEmpty = ({ adds, removes }: OwnMark): boolean => adds.size === 0 && removes.size === 0;

/** The very same list where nothing changes in it. */
function changed(outer: readonly string[], { adds, removes }: OwnMark): readonly string[] {
  const next = new Set(outer);
  for (const term of removes) next.delete(term);
  for (const term of adds) next.add(term);
  if (next.size === outer.length && outer.every((term) => next.has(term))) return outer;
  return next.size === 0 ? NO_TERMS : [...next].sort();
}

/** Both are ordered. */
const sameOr = (was: readonly string[], is: readonly string[]): readonly string[] =>
  was.length === is.length && was.every((term, i) => term === is[i]) ? was : is;

/** The first address behind it. */
const endOf = (cidr: Cidr): bigint => lastOf(cidr).value + 1n;

type Marked = readonly { readonly cidr: Cidr }[];

/** Of the first that is this one or comes after it. */
function placeOf(list: Marked, cidr: Cidr): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareCidrs(list[middle]!.cidr, cidr) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Of the first behind all that are in it. */
const placeAfter = (list: Marked, cidr: Cidr): number =>
  placeOf(list, { family: cidr.family, value: endOf(cidr), length: 0 });

function markOf(marks: readonly OwnMark[], cidr: Cidr): OwnMark | undefined {
  const mark = marks[placeOf(marks, cidr)];
  return mark && compareCidrs(mark.cidr, cidr) === 0 ? mark : undefined;
}

/** Whether there is one in it that is narrower. */
function hasWithin(list: Marked, cidr: Cidr): boolean {
  if (cidr.length === bits(cidr.family)) return false;
  return placeOf(list, { ...cidr, length: cidr.length + 1 }) < placeAfter(list, cidr);
}
