/** Which blocks of pools nodes get, and which are free again. Pure. */
import type { CiliumNode, CiliumPodIpPool, PoolAllocation } from '../api/ipam-types.ts';
import { poolOverlap, poolRanges } from '../api/pod-ip-pool.ts';
import type { Node } from '../api/types.ts';
import {
  bits,
  type Cidr,
  contains,
  type Family,
  firstOf,
  formatCidr,
  overlaps,
  parseCidr,
  tryParseCidr,
} from '../lib/ip.ts';
import { podCidrsOf } from './node-ranges-plan.ts';
import { allocatedOf, blockSize, blocksOf, type Ledger, ledgerOf, ofFamily } from './pod-blocks-ledger.ts';

export interface BlocksView {
  /** In the order of their making: of two that overlap the first counts. Read before the nodes. */
  readonly pools: readonly CiliumPodIpPool[];
  readonly holders: readonly CiliumNode[];
  readonly nodes: readonly Node[];
  /** Blocks that are no pool's to give: those meant for nodes from the beginning. */
  readonly meant: readonly string[];
  /** Ranges of nodes and Services. */
  readonly occupied?: readonly string[];
}

export interface BlocksPlan {
  /** To be written first, each only if the pool is as it was read. */
  readonly ledgers: readonly { pool: CiliumPodIpPool; ledger: Ledger }[];
  /** To be written then, each only if the object is as it was read. */
  readonly grants: readonly { holder: CiliumNode; allocated: PoolAllocation[]; error: string }[];
  /** Pools that are not used. */
  readonly refused: readonly { pool: CiliumPodIpPool; why: string }[];
}

const FAMILIES = [
  [4, 'ipv4', 'ipv4-addrs'],
  [6, 'ipv6', 'ipv6-addrs'],
] as const;

/** The pool whose first blocks nodes have as their `spec.podCIDRs`. */
export const DEFAULT_POOL = 'default';

interface Working {
  readonly pool: CiliumPodIpPool;
  readonly ledger: Ledger;
  readonly blocks: Map<string, string>;
  /** Something was promised, so that the serial moves on. */
  promised: boolean;
}

interface Holder {
  readonly holder: CiliumNode;
  readonly name: string;
  /** By pool. */
  readonly has: Map<string, string[]>;
  readonly errors: string[];
  changed: boolean;
}

export function planBlocks(view: BlocksView): BlocksPlan {
  const refused: { pool: CiliumPodIpPool; why: string }[] = [];
  const used: CiliumPodIpPool[] = [];
  for (const pool of view.pools) {
    const why = overlapWith(pool, used, view.occupied ?? []);
    if (why === undefined) used.push(pool);
    else refused.push({ pool, why });
  }
  const holders = view.holders.map(
    (holder): Holder => ({
      holder,
      name: holder.metadata.name,
      has: new Map(allocatedOf(holder).map(({ pool, cidrs = [] }) => [pool, [...cidrs]])),
      errors: [],
      changed: false,
    }),
  );
  const homes = new Map(view.nodes.map((node) => [node.metadata.name, podCidrsOf(node)]));
  // Blocks of pools that are gone are in use all the same.
  const avoid = [...view.meant, ...[...homes.values()].flat(), ...view.holders.flatMap(blocksOf)].flatMap(
    (text) => tryParseCidr(text) ?? [],
  );
  const ledgers = used.flatMap((pool) => {
    const ledger = ledgerOf(pool);
    const working: Working = {
      pool,
      ledger,
      blocks: new Map(Object.entries(ledger.blocks)),
      promised: false,
    };
    adopt(working, holders, homes);
    grant(working, holders, { homes, avoid });
    const blocks = Object.fromEntries([...working.blocks].toSorted(([a], [b]) => (a < b ? -1 : 1)));
    const same = JSON.stringify(blocks) === JSON.stringify(sorted(ledger.blocks));
    if (same && !working.promised) return [];
    return [{ pool, ledger: { serial: ledger.serial + 1, blocks } }];
  });
  const grants = holders.flatMap(({ holder, has, errors, changed }) => {
    const error = errors.join('; ');
    const told = holder.status?.ipam?.['operator-status']?.error ?? '';
    if (!changed && error === told) return [];
    const allocated = [...has]
      .filter(([, cidrs]) => cidrs.length > 0)
      .map(([pool, cidrs]) => ({ pool, cidrs }));
    return [{ holder, allocated, error }];
  });
  return { ledgers, grants, refused };
}

function overlapWith(
  pool: CiliumPodIpPool,
  used: readonly CiliumPodIpPool[],
  occupied: readonly string[],
): string | undefined {
  const overlap = poolOverlap(pool, used);
  if (overlap) return `${overlap.cidr} overlaps ${overlap.other} of the pool ${overlap.pool}`;
  for (const cidr of poolRanges(pool))
    for (const other of occupied)
      if (overlaps(parseCidr(cidr), parseCidr(other)))
        return `${cidr} overlaps ${other}, which is for nodes or Services`;
  return undefined;
}

const sorted = (blocks: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(blocks).toSorted(([a], [b]) => (a < b ? -1 : 1)));

/** What a node has and the ledger does not know is entered if it is nobody else's; else the node has to leave it. */
function adopt(
  { pool, blocks }: Working,
  holders: readonly Holder[],
  homes: ReadonlyMap<string, string[]>,
): void {
  const ranges = FAMILIES.flatMap(([family, name]) => ofFamily(pool.spec?.[name]?.cidrs ?? [], family));
  for (const each of holders) {
    const cidrs = each.has.get(pool.metadata.name) ?? [];
    const kept = cidrs.filter((text) => {
      const cidr = tryParseCidr(text);
      if (!cidr) return false;
      const key = formatCidr(cidr);
      if (blocks.get(key) === each.name) return true;
      const inside = ranges.some((range) => contains(range, firstOf(cidr)) && range.length <= cidr.length);
      const others = [
        ...blocks.keys(),
        ...[...homes].flatMap(([node, own]) => (node === each.name ? [] : own)),
      ];
      const free = !others.some((other) => {
        const parsed = tryParseCidr(other);
        return parsed !== undefined && overlaps(parsed, cidr);
      });
      if (inside && free) blocks.set(key, each.name);
      else each.errors.push(`the block ${text} of the pool ${pool.metadata.name} is not this node’s`);
      return inside && free;
    });
    if (kept.length === cidrs.length) continue;
    each.has.set(pool.metadata.name, kept);
    each.changed = true;
  }
}

interface Elsewhere {
  readonly homes: ReadonlyMap<string, string[]>;
  readonly avoid: readonly Cidr[];
}

function grant(working: Working, holders: readonly Holder[], { homes, avoid }: Elsewhere): void {
  const { pool, blocks } = working;
  const { name } = pool.metadata;
  const hasIt = (node: string, cidr: string) =>
    holders.some((each) => each.name === node && each.has.get(name)?.includes(cidr)) ||
    homes.get(node)?.includes(cidr) === true;
  // A node that has no ranges yet may be about to get this one as its first.
  const isBare = (node: string) => name === DEFAULT_POOL && homes.get(node)?.length === 0;
  const promises = new Map(
    [...blocks]
      .filter(([cidr, node]) => !hasIt(node, cidr) && !isBare(node))
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
  const wanting = holders
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((each) => FAMILIES.map(([family]) => ({ each, family })));
  // One block each in turn: what is scarce is shared.
  for (let some = true; some; ) {
    some = false;
    for (const { each, family } of wanting) {
      if (!lacks(each, pool, family, homes)) continue;
      const promised = [...promises].find(([cidr, node]) => node === each.name && isOf(cidr, family))?.[0];
      const block = promised ?? freeBlock(pool, family, [...avoid, ...parsedKeys(blocks)]);
      if (block === undefined) {
        tellExhausted(each, pool, family);
        continue;
      }
      promises.delete(block);
      blocks.set(block, each.name);
      each.has.set(name, [...(each.has.get(name) ?? []), block]);
      each.changed = true;
      working.promised = true;
      some = true;
    }
  }
  for (const cidr of promises.keys()) blocks.delete(cidr);
}

const isOf = (cidr: string, family: Family): boolean => cidr.includes(':') === (family === 6);
const parsedKeys = (blocks: ReadonlyMap<string, string>): Cidr[] =>
  [...blocks.keys()].flatMap((cidr) => tryParseCidr(cidr) ?? []);

function lacks(each: Holder, pool: CiliumPodIpPool, family: Family, homes: Elsewhere['homes']): boolean {
  const { name } = pool.metadata;
  const request = each.holder.spec?.ipam?.pools?.requested?.find((one) => one.pool === name);
  const needed = request?.needed?.[family === 4 ? 'ipv4-addrs' : 'ipv6-addrs'] ?? 0;
  if (needed === 0 || !pool.spec?.[family === 4 ? 'ipv4' : 'ipv6']) return false;
  const home = name === DEFAULT_POOL ? (homes.get(each.name) ?? []) : [];
  const cidrs = ofFamily([...home, ...(each.has.get(name) ?? [])], family);
  return cidrs.reduce((sum, cidr) => sum + blockSize(cidr), 0) < needed;
}

function tellExhausted(each: Holder, pool: CiliumPodIpPool, family: Family): void {
  const { cidrs = [], maskSize } = pool.spec?.[family === 4 ? 'ipv4' : 'ipv6'] ?? {};
  const text = `pool ${pool.metadata.name}: no free /${maskSize} left in ${cidrs.join(', ')}`;
  if (!each.errors.includes(text)) each.errors.push(text);
}

function freeBlock(pool: CiliumPodIpPool, family: Family, avoid: readonly Cidr[]): string | undefined {
  const { cidrs = [], maskSize = 0 } = pool.spec?.[family === 4 ? 'ipv4' : 'ipv6'] ?? {};
  for (const range of ofFamily(cidrs, family)) {
    const near = avoid.filter((other) => other.family === family && overlaps(range, other));
    const step = 1n << BigInt(bits(family) - maskSize);
    const end = range.value + (1n << BigInt(bits(family) - range.length));
    for (let value = range.value; value < end; ) {
      const block: Cidr = { family, value, length: maskSize };
      const hit = near.find((other) => overlaps(block, other));
      if (!hit) return formatCidr(block);
      // Past the whole of what is in the way, which may be many blocks.
      const past = hit.value + (1n << BigInt(bits(family) - hit.length));
      value = past > value + step ? past : value + step;
    }
  }
  return undefined;
}
