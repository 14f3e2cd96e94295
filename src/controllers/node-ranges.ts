/** Gives every node its pod ranges (spec.podCIDRs), once. */
import { NODE } from '../api/kinds.ts';
import type { Node } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import { parseCidr } from '../lib/ip.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { planRanges, podCidrsOf } from './node-ranges-plan.ts';

const NAME = 'node-ranges-controller';
const CONDITION = 'NetworkUnavailable';
const EXHAUSTED = 'PodRangesExhausted';

export interface NodeRangesOptions {
  /** The cluster's pod ranges. */
  podCidrs: readonly string[];
  /** By node name: ranges meant for it. */
  meant?: ReadonlyMap<string, readonly string[]>;
}

export function createNodeRangesController(deps: ControllerDeps, options: NodeRangesOptions): Controller {
  const { client, informers, clock } = deps;
  const { nodes } = informers;
  const recorder = deps.recorder(NAME);
  const ranges = options.podCidrs.map(parseCidr);
  const meant = options.meant ?? new Map<string, readonly string[]>();
  // One pass at a time over all nodes: two passes could give one block twice.
  const queue = queueFor(deps, 'node-ranges', assign, { concurrency: 1 });

  async function assign(): Promise<void> {
    for (const decision of planRanges({ ranges, meant, nodes: nodes.list() })) {
      if ('podCidrs' in decision) await give(decision.node, decision.podCidrs);
      else await complain(decision.node, decision.exhausted);
    }
  }

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
  });
  return { name: NAME, run: (signal) => runWhenSynced(queue, [nodes], signal) };
}

const isExhausted = ({ status }: Node): boolean =>
  status?.conditions?.some(
    (one) => one.type === CONDITION && one.status === 'True' && one.reason === EXHAUSTED,
  ) === true;

function unlessGone(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
  return undefined;
}
