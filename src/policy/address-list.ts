/** Addresses in their order, so that those of a span are found without asking the others. */
import { type Address, tryParseAddress } from '../lib/ip.ts';
import type { Span } from './nested-ranges.ts';

export interface AddressList {
  /** What is no address is left out. */
  add(text: string): void;
  delete(text: string): void;
  within(span: Span): Iterable<string>;
}

interface Item {
  readonly address: Address;
  readonly text: string;
}

/** @param texts canonical, each once */
export function createAddressList(texts: Iterable<string>): AddressList {
  const items = Iterator.from(texts)
    .flatMap(itemOf)
    .toArray()
    .sort((a, b) => compare(a.address, b.address));
  return {
    add(text) {
      for (const item of itemOf(text)) {
        const at = placeOf(items, item.address);
        if (items[at]?.text !== text) items.splice(at, 0, item);
      }
    },
    delete(text) {
      for (const { address } of itemOf(text)) {
        const at = placeOf(items, address);
        if (items[at]?.text === text) items.splice(at, 1);
      }
    },
    *within({ family, first, last }) {
      for (let at = placeOf(items, { family, value: first }); at < items.length; at++) {
        const { address, text } = items[at]!;
        if (address.family !== family || address.value > last) return;
        yield text;
      }
    },
  };
}

function itemOf(text: string): Item[] {
  const address = tryParseAddress(text);
  return address ? [{ address, text }] : [];
}

function compare(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.value === b.value) return 0;
  return a.value < b.value ? -1 : 1;
}

/** Of the first that is this one or comes after it. */
function placeOf(items: readonly Item[], address: Address): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(items[middle]!.address, address) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
