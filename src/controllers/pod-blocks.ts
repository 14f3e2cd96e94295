/** Gives nodes blocks of pools as they ask for them, and takes back those that they have left. */
import { CILIUM_NODE, CILIUM_POD_IP_POOL, NODE } from '../api/kinds.ts';
import type { CiliumPodIpPool } from '../api/ipam-types.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import { type Cidr, formatCidr } from '../lib/ip.ts';
import { blockLengths, type NodeMask } from './node-ranges-plan.ts';
import { LEDGER } from './pod-blocks-ledger.ts';
import { type BlocksPlan, type BlocksView, DEFAULT_POOL, planBlocks } from './pod-blocks-plan.ts';

export type BlocksClient = Pick<Client, 'list' | 'patch'>;

/**
 * One pass. It may be ended anywhere and run beside others: pools are read before nodes and written before them, each
 * only if it is as it was read.
 * @returns what was done; `again`: somebody else wrote meanwhile
 */
export async function assignBlocks(
  client: BlocksClient,
  fixed: Pick<BlocksView, 'meant' | 'occupied'>,
): Promise<{ plan: BlocksPlan; again: boolean }> {
  const pools = (await client.list(CILIUM_POD_IP_POOL)).items;
  const holders = (await client.list(CILIUM_NODE)).items;
  const nodes = (await client.list(NODE)).items;
  const plan = planBlocks({ pools: pools.toSorted(byAge), holders, nodes, ...fixed });
  for (const { pool, ledger } of plan.ledgers) {
    const { name, resourceVersion } = pool.metadata;
    const patch = { metadata: { resourceVersion, annotations: { [LEDGER]: JSON.stringify(ledger) } } };
    const done = await client.patch(CILIUM_POD_IP_POOL, name, undefined, patch).catch(unlessOvertaken);
    if (!done) return { plan, again: true };
  }
  let again = false;
  for (const { holder, allocated, error } of plan.grants) {
    const { name, resourceVersion } = holder.metadata;
    const spec = { ipam: { pools: { allocated } } };
    const done = await client
      .patch(CILIUM_NODE, name, undefined, { metadata: { resourceVersion }, spec })
      .catch(unlessOvertaken);
    again ||= !done;
    if (!done || error === (holder.status?.ipam?.['operator-status']?.error ?? '')) continue;
    const status = { ipam: { 'operator-status': { error } } };
    await client
      .patch(CILIUM_NODE, name, undefined, { status }, { subresource: 'status' })
      .catch(unlessOvertaken);
  }
  return { plan, again };
}

const byAge = (a: CiliumPodIpPool, b: CiliumPodIpPool): number => {
  const [first, second] = [a, b].map(
    ({ metadata }) => `${metadata.creationTimestamp ?? ''} ${metadata.name}`,
  );
  return (first ?? '') < (second ?? '') ? -1 : 1;
};

function unlessOvertaken(error: unknown): undefined {
  if (!isConflict(error) && !isNotFound(error)) throw error;
  return undefined;
}

/** The pool that pods are given addresses of if nothing else is said: the cluster's pod ranges. */
export async function ensureDefaultPool(
  client: Pick<Client, 'create'>,
  ranges: readonly Cidr[],
  mask: NodeMask | undefined,
): Promise<void> {
  const part = (family: 4 | 6) => {
    const own = ranges.filter((range) => range.family === family);
    const [first] = own;
    if (!first) return {};
    const maskSize = blockLengths(mask)(first);
    return { [family === 4 ? 'ipv4' : 'ipv6']: { cidrs: own.map(formatCidr), maskSize } };
  };
  const pool: CiliumPodIpPool = {
    apiVersion: 'cilium.io/v2alpha1',
    kind: 'CiliumPodIPPool',
    metadata: { name: DEFAULT_POOL },
    spec: { ...part(4), ...part(6) },
  };
  await client.create(CILIUM_POD_IP_POOL, pool).catch((error: unknown) => {
    // An API server without the kind has no pools: nodes have their first blocks.
    if (!isAlreadyExists(error) && !isNotFound(error)) throw error;
  });
}
