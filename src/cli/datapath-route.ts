/** `heddle datapath route`: nodes go over to another way of reaching each other's pods, while packets flow. */
import type { ClusterConfig } from '../cluster/config.ts';
import { type NodeViewJson, viewFromJson } from '../datapath/dump/wire.ts';
import type { Encapsulation } from '../datapath/encapsulation.ts';
import type { RouteStep, WayOfNode } from '../datapath/route-steps.ts';
import { HeddleError } from '../lib/errors.ts';
import { replaceFile } from '../lib/files.ts';
import type { Agents } from './datapath-nodes.ts';

export interface RouteRow {
  readonly node: string;
  readonly from: Encapsulation;
  readonly to: Encapsulation;
  readonly sends: Encapsulation;
  readonly accepts: readonly Encapsulation[];
  /** Of pods' links; what they send where that is less. */
  readonly mtu: number;
  readonly limit: number | null;
}

export interface RouteOutput {
  readonly nodes: readonly RouteRow[];
  /** All nodes go that way alone, and the cluster's own configuration says so. */
  readonly complete: boolean;
}

export interface RouteRequest {
  readonly to: Encapsulation;
  /** Nodes that send by it from now on; the others only hear it. Absent: all. */
  readonly only?: readonly string[] | undefined;
}

/**
 * Every node takes each step before any takes the next one. Started again after it was interrupted, it goes on.
 * @param agents of all nodes
 * @throws HeddleError `DirectReturnNeedsVxlan`, `NoTunnel`, `UnderlayMtu`, `SocketCall`
 */
export async function routeNodes(
  agents: Agents,
  { to, only }: RouteRequest,
  onStep: (text: string) => void,
): Promise<RouteOutput> {
  const { nodes } = agents;
  const ask = (node: string) => agents.askOne<WayOfNode>(node, '/datapath/route');
  const before = new Map<string, WayOfNode>();
  // One that does not answer now would be left behind, deaf.
  for (const node of nodes) before.set(node, await ask(node));
  if (to !== 'vxlan') await refuseDirectReturn(agents, to);
  const take = async (step: RouteStep, some: readonly string[], words: string) => {
    for (const node of some) {
      onStep(`${node} ${words}`);
      await agents.askOne(node, `/datapath/route?step=${step}&to=${to}`, {});
    }
  };
  const isDone = [...before.values()].every(
    ({ sends, accepts, limit }) => sends === to && accepts.length === 1 && limit === undefined,
  );
  if (!isDone) {
    await take('accept', nodes, `hears ${to} too`);
    await take(
      'send',
      nodes.filter((node) => only?.includes(node) ?? true),
      `sends by ${to}`,
    );
  }
  const ways = new Map<string, WayOfNode>();
  for (const node of nodes) ways.set(node, await ask(node));
  const complete = [...ways.values()].every(({ sends }) => sends === to);
  if (complete) {
    if (!isDone) {
      await take('resize', nodes, `gives pods the MTU of ${to}`);
      await take('settle', nodes, `hears ${to} alone`);
    }
    await remember(agents, to);
    for (const node of nodes) ways.set(node, await ask(node));
  }
  const rows = nodes.flatMap((node): RouteRow[] => {
    const [was, now] = [before.get(node), ways.get(node)];
    if (!was || !now) return [];
    const { sends, accepts, mtu, limit = null } = now;
    return [{ node, from: was.sends, to, sends, accepts, mtu, limit }];
  });
  return { nodes: rows, complete };
}

/** The next start of the cluster begins with it. */
async function remember({ paths, config }: Agents, routing: Encapsulation): Promise<void> {
  if ((config.routing ?? 'vxlan') === routing) return;
  const next: ClusterConfig = { ...config, routing };
  await replaceFile(paths.config, `${JSON.stringify(next, undefined, 2)}\n`, { mode: 0o600, synced: true });
}

/** Its frames say in VXLAN for which service they are; connections by it would end. */
async function refuseDirectReturn(agents: Agents, to: Encapsulation): Promise<void> {
  const views = (await agents.ask<NodeViewJson>('/datapath/plan')).map(({ answer }) => viewFromJson(answer));
  const services = new Set(
    views.flatMap(({ state }) =>
      [...state.services.values()].flatMap(({ forwarding, service }) =>
        forwarding === 'dsr' ? [service] : [],
      ),
    ),
  );
  if (services.size === 0) return;
  throw new HeddleError(
    'DirectReturnNeedsVxlan',
    `${[...services].join(', ')}: direct server return works in VXLAN alone, and connections by it would end with ${to}`,
    { hint: 'take the annotation heddle.dev/forwarding away first' },
  );
}

export function routeText({ nodes, complete }: RouteOutput): string {
  const lines = nodes.map(({ node, from, sends, accepts, mtu, limit }) => {
    const was = from === sends ? `sends by ${sends}` : `sends by ${sends}, no more by ${from}`;
    const size = limit === null ? `pods' MTU ${mtu}` : `pods send ${limit} at most, of an MTU of ${mtu}`;
    return `${node}: ${was}; hears ${accepts.join(', ')}; ${size}`;
  });
  if (!complete) lines.push('not all nodes have gone over: all hear both ways until they have');
  return `${lines.join('\n')}\n`;
}
