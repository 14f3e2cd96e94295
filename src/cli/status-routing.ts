/** How nodes reach each other's pods, for `heddle status`. */
import type { ClusterConfig } from '../cluster/config.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { hasRuntime } from '../cluster/teardown.ts';
import type { Tunnel } from '../datapath/encapsulation.ts';
import type { WayOfNode } from '../datapath/route-steps.ts';
import { callSocket } from '../lib/unix-http.ts';

export interface RoutingStatus {
  readonly mode: 'overlay' | 'native';
  readonly tunnel: Tunnel | null;
  readonly why: string;
  /** Of pods; null where no node answers. */
  readonly mtu: number | null;
  /** Nodes amid a change to another way. */
  readonly changing: readonly string[];
}

export async function gatherRouting(paths: ClusterPaths, config: ClusterConfig): Promise<RoutingStatus> {
  const ask = (name: string) =>
    callSocket<WayOfNode>({
      socketPath: paths.node(name).agentSocket,
      path: '/datapath/route',
      timeoutMs: 3000,
    }).catch(() => undefined);
  const names = config.nodes.map(({ name }) => name);
  const answers = hasRuntime(paths) ? await Promise.all(names.map(ask)) : [];
  const way = config.routing ?? 'vxlan';
  const sizes = answers.flatMap((answer) => (answer ? [answer.limit ?? answer.mtu] : []));
  return {
    mode: way === 'native' ? 'native' : 'overlay',
    tunnel: way === 'native' ? null : way,
    why: config.routing === undefined ? 'the default: no other tunnel is in as many kernels' : 'chosen',
    mtu: sizes.length === 0 ? null : Math.min(...sizes),
    changing: names.filter((_, i) => {
      const answer = answers[i];
      return answer && (answer.sends !== way || answer.accepts.length > 1 || answer.limit !== undefined);
    }),
  };
}

export function routingWords({ mode, tunnel, why, mtu, changing }: RoutingStatus): string {
  const size = mtu === null ? '' : `, pods' MTU ${mtu}`;
  const amid =
    changing.length === 0
      ? ''
      : `; amid a change: ${changing.join(', ')} (heddle datapath route goes on with it)`;
  return `${mode === 'native' ? 'native' : `overlay by ${tunnel?.toUpperCase() ?? ''}`} (${why})${size}${amid}`;
}
