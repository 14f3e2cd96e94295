/** The blocks that a node has of each pool, by family: what is taken, what rests, what can be given. Pure but for time given. */
import type { Family } from '../lib/ip.ts';
import { createPool, type Kept, LEVELS, type Level, type Pool, type Span } from './pool.ts';

/** The pool whose first blocks every node has. */
export const DEFAULT_POOL = 'default';

/** What is known of a pool from outside. */
export interface PoolState {
  readonly families: readonly Family[];
  /** Blocks that this node has of it. */
  readonly blocks: readonly string[];
  /** False: there are no more blocks to be had. */
  readonly grows: boolean;
}

export interface Group {
  readonly pool: string;
  readonly family: Family;
  /** In the order in which they came. */
  blocks: Pool[];
  /** No longer this node's; what is taken of them stays until it is released. */
  retired: Pool[];
  grows: boolean;
}

export interface Usage {
  readonly pool: string;
  readonly cidr: string;
  /** Reserved ones that somebody asked for among them. */
  readonly taken: number;
  /** How many can be taken at most by those that ask for no address; all that are not reserved. */
  readonly size: number;
  /** Released a moment ago: given once no other is free. */
  readonly cooling: number;
  /** Kept for former owners: given once nothing else is left. */
  readonly kept: number;
  readonly reserved: number;
  /** Given at once. */
  readonly free: number;
  /** Nothing more is given of it. */
  readonly retired: boolean;
}

export interface BlockSet {
  groups(): Group[];
  /** Those of one pool, IPv4 first; undefined: there is no such pool. */
  of(pool: string): Group[] | undefined;
  /** The block that has this address, and whether it is still this node's. */
  find(address: string): Pool | undefined;
  usable(): Pool[];
  set(pools: ReadonlyMap<string, PoolState>, now: number): void;
  setReserved(cidrs: readonly string[]): void;
  /** Of a pool, blocks of which nothing is taken, rests or is kept; never the first ones. */
  unused(pool: string, now: number): string[];
  usage(now: number): Usage[];
}

export interface BlockOptions {
  readonly home: readonly string[];
  readonly never: readonly string[] | undefined;
  readonly coolingMs: number;
}

const familyOf = (cidr: string): Family => (cidr.includes(':') ? 6 : 4);

export function createBlockSet({ home, never, coolingMs }: BlockOptions): BlockSet {
  const byPool = new Map<string, Map<Family, Group>>();
  let reserved: readonly string[] = [];
  const first = home.map((cidr) => createPool({ cidr, reserved: never, coolingMs }));
  const all = () => [...byPool.values()].flatMap((families) => [...families.values()]);
  const everyBlock = () => all().flatMap(({ blocks, retired }) => [...blocks, ...retired]);

  function make(cidr: string): Pool {
    const pool = createPool({ cidr, reserved: never, coolingMs });
    pool.setReserved(reserved);
    return pool;
  }

  const isEmpty = (pool: Pool, now: number): boolean =>
    pool.kept(now).length === 0 && pool.taken === 0 && pool.cooling().length === 0;

  function setGroup(pool: string, family: Family, state: PoolState | undefined, now: number): void {
    const families = byPool.get(pool) ?? new Map<Family, Group>();
    const had = families.get(family);
    const known = new Map([...(had?.blocks ?? []), ...(had?.retired ?? [])].map((each) => [each.cidr, each]));
    const wanted = (state?.blocks ?? []).filter((cidr) => familyOf(cidr) === family);
    const isHome = (each: Pool) => pool === DEFAULT_POOL && familyOf(each.cidr) === family;
    const granted = wanted.map((cidr) => known.get(cidr) ?? make(cidr));
    const blocks = [
      ...first.filter(isHome),
      ...granted.filter(({ cidr }) => !first.some((each) => each.cidr === cidr)),
    ];
    const retired = [...known.values()].filter((each) => !blocks.includes(each) && !isEmpty(each, now));
    const exists = state?.families.includes(family) || blocks.length > 0 || retired.length > 0;
    if (exists) families.set(family, { pool, family, blocks, retired, grows: state?.grows ?? false });
    else families.delete(family);
    if (families.size > 0) byPool.set(pool, families);
    else byPool.delete(pool);
  }

  const set: BlockSet['set'] = (pools, now) => {
    for (const name of new Set([DEFAULT_POOL, ...byPool.keys(), ...pools.keys()]))
      for (const family of [4, 6] as const) setGroup(name, family, pools.get(name), now);
  };
  set(new Map(), 0);

  return {
    groups: all,
    of(pool) {
      const families = byPool.get(pool);
      return families && ([4, 6] as const).flatMap((family) => families.get(family) ?? []);
    },
    find: (address) => everyBlock().find((pool) => pool.covers(address)),
    usable: () => all().flatMap(({ blocks }) => blocks),
    set,
    setReserved(cidrs) {
      reserved = cidrs;
      for (const pool of everyBlock()) pool.setReserved(cidrs);
    },
    unused: (pool, now) =>
      [...(byPool.get(pool)?.values() ?? [])]
        .flatMap(({ blocks }) => blocks)
        .filter((block) => !first.includes(block) && isEmpty(block, now))
        .map(({ cidr }) => cidr),
    usage: (now) =>
      all().flatMap(({ pool, blocks, retired }) =>
        [...blocks, ...retired].map((block) => {
          const { resting, kept } = block.waiting(now);
          const { cidr, taken, size, reserved: setAside } = block;
          const free = size + setAside - block.used(now);
          return {
            pool,
            cidr,
            taken,
            size,
            cooling: resting,
            kept,
            reserved: setAside,
            free,
            retired: !blocks.includes(block),
          };
        }),
      ),
  };
}

/** From the least precious of all blocks; undefined where nothing is left up to `level`. */
export function takeFrom(
  { blocks }: Group,
  now: number,
  options: { upTo: Level; within?: readonly Span[] | undefined },
): string | undefined {
  for (const level of LEVELS.slice(0, LEVELS.indexOf(options.upTo) + 1)) {
    const order = level === 'resting' ? blocks.toSorted((a, b) => oldest(a) - oldest(b)) : blocks;
    for (const block of order) {
      const address = block.take(now, level, options.within);
      if (address !== undefined) return address;
    }
  }
  return undefined;
}

const oldest = (block: Pool): number => block.cooling()[0]?.since ?? Number.POSITIVE_INFINITY;

/** What waits in a group for whoever has this label. */
export const keptFor = ({ blocks }: Group, label: string, now: number): Kept | undefined =>
  blocks.flatMap((block) => block.kept(now)).find((kept) => kept.label === label);

/** Block by block, and summed by pool and family. Blocks that give nothing more are left out of sizes. */
export function sumByPool(
  usage: readonly Usage[],
): (Omit<Usage, 'cidr' | 'retired'> & { cidrs: string[] })[] {
  const sums = new Map<string, Omit<Usage, 'cidr' | 'retired'> & { cidrs: string[] }>();
  for (const { pool, cidr, taken, size, cooling, kept, reserved, free, retired } of usage) {
    if (retired) continue;
    const key = `${pool} ${familyOf(cidr)}`;
    const sum = sums.get(key) ?? {
      pool,
      cidrs: [],
      taken: 0,
      size: 0,
      cooling: 0,
      kept: 0,
      reserved: 0,
      free: 0,
    };
    sum.cidrs.push(cidr);
    sums.set(key, {
      ...sum,
      taken: sum.taken + taken,
      size: sum.size + size,
      cooling: sum.cooling + cooling,
      kept: sum.kept + kept,
      reserved: sum.reserved + reserved,
      free: sum.free + free,
    });
  }
  return [...sums.values()];
}
