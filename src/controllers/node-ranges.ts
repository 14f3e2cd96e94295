/**
 * Gives every node its first pod ranges (spec.podCIDRs), once, and further blocks of pools as it asks for them. A block
 * that was not meant for its node from the beginning stands in the pool's ledger before anybody hears of it.
 */
import { CILIUM_POD_IP_POOL, NODE } from '../api/kinds.ts';
import type { CiliumPodIpPool } from '../api/ipam-types.ts';
import type { Node } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import { parseCidr } from '../lib/ip.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { type NodeMask, planRanges, podCidrsOf } from './node-ranges-plan.ts';
import { assignBlocks, ensureDefaultPool } from './pod-blocks.ts';
import { LEDGER, ledgerOf } from './pod-blocks-ledger.ts';
import { DEFAULT_POOL } from './pod-blocks-plan.ts';

const NAME = 'node-ranges-controller';
const CONDITION = 'NetworkUnavailable';
const EXHAUSTED = 'PodRangesExhausted';

export interface NodeRangesOptions {
  /** The cluster's pod ranges. */
  podCidrs: readonly string[];
  /** By node name: ranges meant for it. */
  meant?: ReadonlyMap<string, readonly string[]>;
  /** Length of a node's blocks. */
  mask?: NodeMask | undefined;
  /** Ranges of nodes and Services, which no pool may have. */
  occupied?: readonly string[];
}

export function createNodeRangesController(deps: ControllerDeps, options: NodeRangesOptions): Controller {
  const { client, informers, clock, log } = deps;
  const { nodes, podPools, blockHolders } = informers;
  const { occupied = [], mask } = options;
  const recorder = deps.recorder(NAME);
  const ranges = options.podCidrs.map(parseCidr);
  const meant = options.meant ?? new Map<string, readonly string[]>();
  const refused = new Map<string, string>();
  // One pass at a time over all nodes: two passes could choose one block twice.
  const queue = queueFor(deps, 'node-ranges', (key) => (key === 'blocks' ? blocks() : assign()), {
    concurrency: 1,
  });

  async function assign(): Promise<void> {
    const bare = nodes.list().some((node) => podCidrsOf(node).length === 0);
    if (!bare) return;
    const strangers = nodes
      .list()
      .some((node) => podCidrsOf(node).length === 0 && !meant.has(node.metadata.name));
    const pool = strangers ? await defaultPool() : undefined;
    const { serial = 0, blocks: given = {} } = pool ? ledgerOf(pool) : {};
    // Read after the ledger: who has left a promise there is seen.
    const all = strangers ? (await client.list(NODE)).items : nodes.list();
    const promised = new Map(meant);
    for (const [cidr, node] of Object.entries(given))
      if (!meant.has(node) && isBare(all, node)) promised.set(node, [...(promised.get(node) ?? []), cidr]);
    const firm = Object.entries(given).filter(([, node]) => !isBare(all, node));
    const decisions = planRanges({
      ranges,
      meant: promised,
      nodes: all,
      given: firm.map(([cidr]) => cidr),
      mask,
    });
    const news = decisions.flatMap((one) =>
      'podCidrs' in one && !meant.has(one.node.metadata.name)
        ? one.podCidrs.map((cidr): [string, string] => [cidr, one.node.metadata.name])
        : [],
    );
    if (pool && news.length > 0) {
      const ledger = { serial: serial + 1, blocks: { ...given, ...Object.fromEntries(news) } };
      const { resourceVersion } = pool.metadata;
      const patch = { metadata: { resourceVersion, annotations: { [LEDGER]: JSON.stringify(ledger) } } };
      podPools.remember(await client.patch(CILIUM_POD_IP_POOL, DEFAULT_POOL, undefined, patch));
    }
    for (const decision of decisions) {
      if ('podCidrs' in decision) await give(decision.node, decision.podCidrs);
      else await complain(decision.node, decision.exhausted);
    }
  }

  const isBare = (all: readonly Node[], name: string): boolean => {
    const node = all.find(({ metadata }) => metadata.name === name);
    return node !== undefined && podCidrsOf(node).length === 0;
  };

  const defaultPool = (): Promise<CiliumPodIpPool | undefined> =>
    client.get(CILIUM_POD_IP_POOL, DEFAULT_POOL).catch(unlessGone);

  async function blocks(): Promise<void> {
    // Nobody has asked for anything, and nothing is given.
    if (blockHolders.list().length === 0 && podPools.list().every((pool) => isUntouched(pool))) return;
    const fixed = { meant: [...meant.values()].flat(), occupied };
    const { plan, again } = await assignBlocks(client, fixed);
    const now = new Map(plan.refused.map(({ pool, why }) => [pool.metadata.name, why]));
    for (const { pool, why } of plan.refused) {
      if (refused.get(pool.metadata.name) === why) continue;
      recorder.event(pool, 'Warning', 'PoolOverlaps', `the pool is not used: ${why}`);
    }
    refused.clear();
    for (const [name, why] of now) refused.set(name, why);
    for (const { holder, error } of plan.grants)
      if (error)
        log.warn('a node does not get the blocks that it asks for', { node: holder.metadata.name, error });
    if (again) queue.add('blocks');
  }

  const isUntouched = (pool: CiliumPodIpPool): boolean =>
    pool.metadata.name === DEFAULT_POOL && Object.keys(ledgerOf(pool).blocks).length === 0;

  async function give(node: Node, podCIDRs: string[]): Promise<void> {
    const { name, resourceVersion } = node.metadata;
    const patch = { metadata: { resourceVersion }, spec: { podCIDR: podCIDRs[0], podCIDRs } };
    const updated = await client.patch(NODE, name, undefined, patch).catch(unlessGone);
    if (!updated) return;
    nodes.remember(updated);
    if (isExhausted(node)) await setCondition(node, 'False', 'PodRangesAssigned', 'the node has pod ranges');
  }

  async function complain(node: Node, exhausted: readonly string[]): Promise<void> {
    if (isExhausted(node)) return;
    const message = `no free pod range is left for the node in ${exhausted.join(' and ')}; remove nodes or start the cluster with larger pod ranges`;
    recorder.event(node, 'Warning', EXHAUSTED, message);
    await setCondition(node, 'True', EXHAUSTED, message);
  }

  async function setCondition(node: Node, status: string, reason: string, message: string): Promise<void> {
    const at = timestamp(clock.now());
    const condition = {
      type: CONDITION,
      status,
      reason,
      message,
      lastTransitionTime: at,
      lastHeartbeatTime: at,
    };
    const patch = { status: { conditions: [condition] } };
    const how = { type: 'strategic', subresource: 'status' } as const;
    const updated = await client.patch(NODE, node.metadata.name, undefined, patch, how).catch(unlessGone);
    if (updated) nodes.remember(updated);
  }

  nodes.onChange((_key, now, before) => {
    // A node that went may have left room for another.
    if (!now || podCidrsOf(now).length === 0 || !before) queue.add('nodes');
    if (!now || !before) queue.add('blocks');
  });
  for (const informer of [podPools, blockHolders]) informer.onChange(() => queue.add('blocks'));
  return {
    name: NAME,
    run: async (signal) => {
      await runWhenSynced(
        {
          ...queue,
          run: async (stop) => {
            await ensureDefaultPool(client, ranges, mask).catch((error: unknown) =>
              log.warn('the pool of the cluster’s pod ranges cannot be made', { error: String(error) }),
            );
            await queue.run(stop);
          },
        },
        [nodes, podPools, blockHolders],
        signal,
      );
    },
  };
}

const isExhausted = ({ status }: Node): boolean =>
  status?.conditions?.some(
    (one) => one.type === CONDITION && one.status === 'True' && one.reason === EXHAUSTED,
  ) === true;

function unlessGone(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
  return undefined;
}
