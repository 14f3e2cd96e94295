/**
 * Which node has which block of a pool: kept on the pool itself, so that one compare-and-swap decides. A node's object
 * says the same for the node, and is written after it; whoever dies between the two leaves a promise, which the next
 * one keeps or takes back.
 */
import type { CiliumNode, CiliumPodIpPool, PoolAllocation } from '../api/ipam-types.ts';
import { bits, type Cidr, type Family, tryParseCidr } from '../lib/ip.ts';
import { isObject } from '../lib/json.ts';

export const LEDGER = 'heddle.dev/blocks';

export interface Ledger {
  /** Moves with every promise, also of a block that stands here already: who writes what is older is refused. */
  readonly serial: number;
  /** By block: the node. */
  readonly blocks: Readonly<Record<string, string>>;
}

/** What is no ledger is an empty one: nodes say themselves what they have. */
export function ledgerOf({ metadata }: CiliumPodIpPool): Ledger {
  try {
    const read: unknown = JSON.parse(metadata.annotations?.[LEDGER] ?? '{}');
    const { serial, blocks } = isObject(read) ? read : {};
    const entries = Object.entries(isObject(blocks) ? blocks : {});
    return {
      serial: typeof serial === 'number' ? serial : 0,
      blocks: Object.fromEntries(
        entries.flatMap(([cidr, node]) =>
          typeof node === 'string' && tryParseCidr(cidr) ? [[cidr, node]] : [],
        ),
      ),
    };
  } catch {
    return { serial: 0, blocks: {} };
  }
}

export const allocatedOf = ({ spec }: CiliumNode): readonly PoolAllocation[] =>
  spec?.ipam?.pools?.allocated ?? [];

/** All blocks that a node has beside its first ones. */
export const blocksOf = (node: CiliumNode | undefined): string[] =>
  node ? allocatedOf(node).flatMap(({ cidrs = [] }) => cidrs.filter((cidr) => tryParseCidr(cidr))) : [];

/** How many addresses of a block pods can have: not the first two, nor the last of an IPv4 one. */
export function blockSize({ family, length }: Pick<Cidr, 'family' | 'length'>): number {
  const free = bits(family) - length;
  const never = free >= 2 ? (family === 4 ? 3 : 2) : 0;
  return 2 ** free - never;
}

export const ofFamily = (cidrs: readonly string[], family: Family): Cidr[] =>
  cidrs.flatMap((text) => {
    const cidr = tryParseCidr(text);
    return cidr?.family === family ? [cidr] : [];
  });
