/** nft's interval maps hold ranges that do not overlap; plans say prefixes of which the longest wins. */
import { bits, type Cidr, type Family, formatAddress, firstOf, lastOf, parseCidr } from '../../lib/ip.ts';

export interface Range<T> {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
  readonly value: T;
}

/**
 * Prefixes → disjoint ranges, ordered, neighbours of one value joined. Prefixes nest or are apart, so one pass
 * with a stack of the open ones is enough.
 */
export function flatten<T>(prefixes: Iterable<readonly [cidr: string, value: T]>): Range<T>[] {
  const sorted = [...prefixes]
    .map(([cidr, value]) => ({ cidr: parseCidr(cidr), value }))
    .sort(
      (a, b) =>
        a.cidr.family - b.cidr.family || compare(a.cidr.value, b.cidr.value) || a.cidr.length - b.cidr.length,
    );
  const out: Range<T>[] = [];
  const open: { cidr: Cidr; value: T }[] = [];
  let next = 0n;

  function emit(last: bigint): void {
    const top = open.at(-1);
    if (!top || next > last) return;
    const { family } = top.cidr;
    const before = out.at(-1);
    if (before && before.family === family && before.last + 1n === next && Object.is(before.value, top.value))
      out[out.length - 1] = { ...before, last };
    else out.push({ family, first: next, last, value: top.value });
    next = last + 1n;
  }

  function closeBefore(cidr: Cidr | undefined): void {
    for (let top = open.at(-1); top; top = open.at(-1)) {
      const last = lastOf(top.cidr).value;
      if (cidr && top.cidr.family === cidr.family && last >= cidr.value) return;
      emit(last);
      open.pop();
    }
  }

  for (const entry of sorted) {
    closeBefore(entry.cidr);
    const first = firstOf(entry.cidr).value;
    if (open.length > 0) emit(first - 1n);
    next = first;
    open.push(entry);
  }
  closeBefore(undefined);
  return out;
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

/** As nft lists a range: an address, a prefix where it is one, else both ends. */
export function rangeText({ family, first, last }: Omit<Range<unknown>, 'value'>): string {
  const start = formatAddress({ family, value: first });
  if (first === last) return start;
  const size = last - first + 1n;
  const isPrefix = (size & (size - 1n)) === 0n && (first & (size - 1n)) === 0n;
  if (isPrefix) return `${start}/${bits(family) - (size.toString(2).length - 1)}`;
  return `${start}-${formatAddress({ family, value: last })}`;
}
