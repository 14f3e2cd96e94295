/** What rules ask of addresses, as ranges; and all of it at once, for who asks of one world. */
import type { Address, Cidr } from '../lib/ip.ts';
import { createNestedRanges, type Mark, NO_TERMS } from './nested-ranges.ts';

export interface Block {
  readonly ranges: readonly Cidr[];
  readonly except: readonly Cidr[];
}

/** Each range that a block or an exception starts, with the names of the blocks that hold there. */
export function nestBlocks(blocks: ReadonlyMap<string, Block>): {
  readonly ranges: readonly Mark[];
  match(address: Address): readonly string[];
} {
  const nested = createNestedRanges();
  nested.change([], blocks);
  return {
    ranges: nested.marks(),
    match: (address) => nested.match(address)?.terms ?? NO_TERMS,
  };
}
