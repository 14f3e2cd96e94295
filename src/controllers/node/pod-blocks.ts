/**
 * A node's side of blocks: it says how many addresses of which pool it needs, takes up what it is given, and leaves what
 * it has no use for. Without an answer it goes on with what it has.
 */
import { CILIUM_NODE } from '../../api/kinds.ts';
import type { CiliumNode, CiliumPodIpPool, PoolAllocation, PoolRequest } from '../../api/ipam-types.ts';
import type { Node } from '../../api/types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../client/api-error.ts';
import type { Informer } from '../../client/informer.ts';
import { createQueue } from '../../client/queue.ts';
import type { Client } from '../../client/types.ts';
import type { PoolState } from '../../ipam/blocks.ts';
import type { Ipam } from '../../ipam/ipam.ts';
import type { Clock } from '../../lib/clock.ts';
import { type Family, parseCidr } from '../../lib/ip.ts';
import { sameJson } from '../../lib/json.ts';
import type { Log } from '../../lib/log.ts';
import { unlessAborted } from '../../lib/signals.ts';
import { allocatedOf, blockSize } from '../pod-blocks-ledger.ts';
import { DEFAULT_POOL } from '../pod-blocks-plan.ts';

export interface PodBlocksDeps {
  readonly client: Client;
  readonly node: string;
  readonly addresses: readonly string[];
  /** First blocks of this node. */
  readonly home: readonly string[];
  readonly ipam: Ipam;
  readonly pools: Informer<CiliumPodIpPool>;
  readonly holders: Informer<CiliumNode>;
  readonly nodes: Pick<Informer<Node>, 'get'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** So many addresses of the pool `default` are to be free, or asked for. */
const AHEAD = 8;
/** Milliseconds: changes that come together are one request. */
const TOGETHER = 20;
/** Milliseconds between looks at what has become of no use. */
const LOOK = 15_000;

export async function runPodBlocks(deps: PodBlocksDeps, signal: AbortSignal): Promise<void> {
  const { client, node, ipam, pools, holders, clock, log } = deps;
  /** Blocks that are being given back. */
  const leaving = new Set<string>();
  const queue = createQueue({ name: 'pod-blocks', work: ask, log, clock, concurrency: 1 });
  const own = () => holders.get(node);

  function takeUp(): void {
    const states = new Map<string, PoolState>();
    const holder = own();
    const error = holder?.status?.ipam?.['operator-status']?.error ?? '';
    const blocksOf = (pool: string) =>
      (holder ? allocatedOf(holder) : [])
        .filter((one) => one.pool === pool)
        .flatMap(({ cidrs = [] }) => cidrs)
        .filter((cidr) => !leaving.has(cidr));
    for (const { metadata, spec } of pools.list()) {
      const families = ([4, 6] as const).filter((family) => spec?.[family === 4 ? 'ipv4' : 'ipv6']);
      const { name } = metadata;
      states.set(name, { families, blocks: blocksOf(name), grows: !error.includes(`pool ${name}:`) });
    }
    for (const { pool } of holder ? allocatedOf(holder) : [])
      if (!states.has(pool)) states.set(pool, { families: [], blocks: blocksOf(pool), grows: false });
    ipam.setPools(states);
  }

  async function ask(): Promise<void> {
    const holder = own();
    const requested = requests(ipam, new Set(pools.list().map(({ metadata }) => metadata.name)));
    if (!holder) {
      if (!isEnough(requested, deps.home)) await announce(requested);
      return;
    }
    const { allocated, dropped } = withoutUnused(ipam, holder, requested, deps.home);
    const changed = !sameJson(requested, holder.spec.ipam?.pools?.requested ?? []);
    if (changed || dropped.length > 0) await change(holder, requested, { allocated, dropped });
    if (allocated.length > 0) queue.addAfter('ask', LOOK);
  }

  /** Nothing is given of a block from the moment that it is to go, and again if it cannot go now. */
  async function change(
    holder: CiliumNode,
    requested: PoolRequest[],
    { allocated, dropped }: { allocated: PoolAllocation[]; dropped: readonly string[] },
  ): Promise<void> {
    for (const cidr of dropped) leaving.add(cidr);
    if (dropped.length > 0) takeUp();
    const { resourceVersion } = holder.metadata;
    const pools = dropped.length > 0 ? { requested, allocated } : { requested };
    const patch = {
      ...(dropped.length > 0 ? { metadata: { resourceVersion } } : {}),
      spec: { ipam: { pools } },
    };
    try {
      const updated = await client.patch(CILIUM_NODE, node, undefined, patch);
      holders.remember(updated);
      if (dropped.length > 0) log.info('blocks of pools are given back', { blocks: dropped });
    } catch (error) {
      // Somebody wrote meanwhile: the copy will say what, and the change is made on that.
      if (!isConflict(error) && !isNotFound(error)) throw error;
      queue.addAfter('ask', TOGETHER);
    } finally {
      for (const cidr of dropped) leaving.delete(cidr);
      if (dropped.length > 0) takeUp();
    }
  }

  async function announce(requested: PoolRequest[]): Promise<void> {
    const uid = deps.nodes.get(node)?.metadata.uid;
    if (uid === undefined) {
      queue.addAfter('ask', 500);
      return;
    }
    const created: CiliumNode = {
      apiVersion: 'cilium.io/v2',
      kind: 'CiliumNode',
      metadata: {
        name: node,
        ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node, uid }],
      },
      spec: {
        addresses: deps.addresses.map((ip) => ({ type: 'InternalIP', ip })),
        ipam: { podCIDRs: [...deps.home], pools: { requested, allocated: inUse(ipam, deps.home) } },
      },
    };
    await client.create(CILIUM_NODE, created).then(
      (object) => holders.remember(object),
      (error: unknown) => {
        // An API server without the kind: the first blocks are all that there is.
        if (!isAlreadyExists(error) && !isNotFound(error)) throw error;
      },
    );
  }

  await unlessAborted(Promise.all([pools.synced(), holders.synced()]), signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  if (signal.aborted) return;
  pools.onChange(() => {
    takeUp();
    queue.addAfter('ask', TOGETHER);
  });
  holders.onChange((key) => {
    if (key !== node) return;
    takeUp();
    queue.addAfter('ask', TOGETHER);
  });
  ipam.onChange(() => queue.addAfter('ask', TOGETHER));
  takeUp();
  queue.add('ask');
  await queue.run(signal);
}

const FIELD: Readonly<Record<Family, 'ipv4-addrs' | 'ipv6-addrs'>> = { 4: 'ipv4-addrs', 6: 'ipv6-addrs' };

/** In steps of `AHEAD`, so that not every pod is a request; of other pools exactly what is needed. */
function requests(ipam: Ipam, known: ReadonlySet<string>): PoolRequest[] {
  const byPool = new Map<string, NonNullable<PoolRequest['needed']>>();
  for (const { pool, family, addresses } of ipam.needs()) {
    if (!known.has(pool)) continue;
    const some = pool === DEFAULT_POOL ? Math.ceil(addresses / AHEAD + 1) * AHEAD : addresses;
    // A reservation of IPv6 may be more than a whole number of JSON can say.
    const count = Math.min(some, Number.MAX_SAFE_INTEGER);
    if (count > 0) byPool.set(pool, { ...byPool.get(pool), [FIELD[family]]: count });
  }
  return [...byPool]
    .map(([pool, needed]) => ({ pool, needed }))
    .toSorted((a, b) => (a.pool < b.pool ? -1 : 1));
}

const sizeOf = (cidrs: readonly string[], family: Family): number =>
  cidrs.map(parseCidr).reduce((sum, cidr) => sum + (cidr.family === family ? blockSize(cidr) : 0), 0);

const isEnough = (requested: readonly PoolRequest[], home: readonly string[]): boolean =>
  requested.every(
    ({ pool, needed }) =>
      pool === DEFAULT_POOL &&
      ([4, 6] as const).every((family) => (needed?.[FIELD[family]] ?? 0) <= sizeOf(home, family)),
  );

/** What was given last goes first, and only what leaves enough. */
function withoutUnused(
  ipam: Ipam,
  holder: CiliumNode,
  requested: readonly PoolRequest[],
  home: readonly string[],
): { allocated: PoolAllocation[]; dropped: string[] } {
  const dropped: string[] = [];
  const allocated = allocatedOf(holder).map(({ pool, cidrs = [] }) => {
    const needed = requested.find((one) => one.pool === pool)?.needed ?? {};
    const unused = new Set(ipam.unused(pool));
    let kept = [...cidrs];
    for (const cidr of cidrs.toReversed()) {
      const { family } = parseCidr(cidr);
      const rest = kept.filter((one) => one !== cidr);
      const room = sizeOf([...rest, ...(pool === DEFAULT_POOL ? home : [])], family);
      if (!unused.has(cidr) || room < (needed[FIELD[family]] ?? 0)) continue;
      kept = rest;
      dropped.push(cidr);
    }
    return { pool, cidrs: kept };
  });
  return { allocated: allocated.filter(({ cidrs }) => cidrs.length > 0), dropped };
}

/** Blocks of which something is taken: a node that is made anew still has them. */
function inUse(ipam: Ipam, home: readonly string[]): PoolAllocation[] {
  const byPool = new Map<string, string[]>();
  for (const { pool, cidr, taken } of ipam.usage())
    if (taken > 0 && !home.includes(cidr)) byPool.set(pool, [...(byPool.get(pool) ?? []), cidr]);
  return [...byPool].map(([pool, cidrs]) => ({ pool, cidrs }));
}
