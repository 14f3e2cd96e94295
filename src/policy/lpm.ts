/** Longest prefix match over both families. */
import { type Address, bits, type Cidr, type Family } from '../lib/ip.ts';

export interface Lpm<T> {
  set(cidr: Cidr, value: T): void;
  delete(cidr: Cidr): void;
  /** @param most the longest prefix that counts */
  match(address: Address, most?: number): T | undefined;
}

export function createLpm<T>(): Lpm<T> {
  const byLength: Record<Family, Map<number, Map<bigint, T>>> = { 4: new Map(), 6: new Map() };
  /** Lengths in use, longest first. */
  const lengths: Record<Family, number[]> = { 4: [], 6: [] };
  const order = (family: Family): void => {
    lengths[family] = [...byLength[family].keys()].sort((a, b) => b - a);
  };
  return {
    set({ family, length, value: network }, value) {
      let prefixes = byLength[family].get(length);
      if (!prefixes) {
        prefixes = new Map();
        byLength[family].set(length, prefixes);
        order(family);
      }
      prefixes.set(network, value);
    },
    delete({ family, length, value: network }) {
      const prefixes = byLength[family].get(length);
      if (!prefixes?.delete(network) || prefixes.size > 0) return;
      byLength[family].delete(length);
      order(family);
    },
    match({ family, value }, most = bits(family)) {
      for (const length of lengths[family]) {
        if (length > most) continue;
        const shift = BigInt(bits(family) - length);
        const found = byLength[family].get(length)!.get((value >> shift) << shift);
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}

/** By family, then address, then the wider first: a prefix comes after all that hold it. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  if (a.family !== b.family) return a.family - b.family;
  if (a.value !== b.value) return a.value < b.value ? -1 : 1;
  return a.length - b.length;
}
