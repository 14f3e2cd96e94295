/** Which pod ranges a node gets: what it has stays; else what is meant for it; else the first free ones. Pure. */
import type { Node } from '../api/types.ts';
import { type Cidr, contains, type Family, firstOf, formatCidr, overlaps, tryParseCidr } from '../lib/ip.ts';

export interface RangesView {
  /** The cluster's pod ranges, at most one of each family. */
  ranges: readonly Cidr[];
  /** By node name: ranges meant for it, taken if they are free and within the cluster's. */
  meant: ReadonlyMap<string, readonly string[]>;
  nodes: readonly Node[];
  /** Blocks that are somebody's already, though no node's first ones. */
  given?: readonly string[];
  mask?: NodeMask | undefined;
}

/** Length of a node's blocks, by family. */
export type NodeMask = Readonly<Record<Family, number>>;

export type RangeDecision =
  | { node: Node; podCidrs: string[] }
  /** Texts of the cluster's ranges that have no block left. */
  | { node: Node; exhausted: string[] };

const DEFAULT_MASK: NodeMask = { 4: 24, 6: 64 };

/** Length of a node's block: /24 and /64 if nothing is said, or the whole range where it is smaller. */
export const blockLengths =
  (mask: NodeMask = DEFAULT_MASK) =>
  (range: Cidr): number =>
    Math.max(range.length, mask[range.family]);

export const podCidrsOf = ({ spec }: Node): string[] =>
  spec?.podCIDRs?.length ? spec.podCIDRs : spec?.podCIDR ? [spec.podCIDR] : [];

const parsed = (texts: readonly string[]): Cidr[] =>
  texts.map(tryParseCidr).filter((cidr) => cidr !== undefined);

/** One decision for each node without ranges. No two nodes ever get what overlaps. */
export function planRanges({ ranges, meant, nodes, given = [], mask }: RangesView): RangeDecision[] {
  const blockLength = blockLengths(mask);
  const elsewhere = parsed(given);
  const taken = nodes.flatMap((node) => parsed(podCidrsOf(node)));
  const bare = nodes.filter((node) => podCidrsOf(node).length === 0 && !node.metadata.deletionTimestamp);
  const reserved = (name: string) =>
    [...meant].filter(([other]) => other !== name).flatMap(([, texts]) => parsed(texts));
  const decisions: RangeDecision[] = [];
  // Those with ranges meant for them come first, so that nobody else takes them.
  const ordered = [...bare].sort((a, b) => rank(a, meant) - rank(b, meant));
  for (const node of ordered) {
    const own = parsed(meant.get(node.metadata.name) ?? []);
    const others = [...taken, ...elsewhere];
    const avoid = [...others, ...reserved(node.metadata.name)];
    const blocks = ranges.map(
      (range) => meantBlock(range, own, others) ?? freeBlock(range, avoid, blockLength(range)),
    );
    const exhausted = ranges.filter((_, i) => blocks[i] === undefined).map(formatCidr);
    if (exhausted.length > 0) {
      decisions.push({ node, exhausted });
      continue;
    }
    const chosen = blocks.filter((block) => block !== undefined);
    taken.push(...chosen);
    decisions.push({ node, podCidrs: chosen.map(formatCidr) });
  }
  return decisions;
}

const rank = ({ metadata }: Node, meant: RangesView['meant']): number => (meant.has(metadata.name) ? 0 : 1);

function meantBlock(range: Cidr, own: readonly Cidr[], taken: readonly Cidr[]): Cidr | undefined {
  return own.find(
    (block) =>
      contains(range, firstOf(block)) &&
      block.length >= range.length &&
      !taken.some((other) => overlaps(block, other)),
  );
}

function freeBlock(range: Cidr, avoid: readonly Cidr[], length: number): Cidr | undefined {
  const step = 1n << BigInt((range.family === 4 ? 32 : 128) - length);
  const blocks = 1n << BigInt(length - range.length);
  const near = avoid.filter((other) => overlaps(range, other));
  for (let i = 0n; i < blocks; i++) {
    const block: Cidr = { family: range.family, value: range.value + i * step, length };
    // Every block in use ends the search by one step: it is as long as the cluster has nodes.
    if (!near.some((other) => overlaps(block, other))) return block;
  }
  return undefined;
}
