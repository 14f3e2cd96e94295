/** What `heddle status` says of BGP: sessions that do not stand, and what of the configuration is not in effect. */
import type { ClusterPaths } from '../cluster/paths.ts';
import type { BgpOverview } from '../controllers/node/bgp-report.ts';
import { callSocket } from '../lib/unix-http.ts';

export interface BgpSummary {
  readonly peers: number;
  readonly down: readonly (BgpOverview['down'][number] & { readonly node: string })[];
  readonly problems: readonly { readonly node: string; readonly text: string }[];
}

interface AgentStatus {
  /** Absent from agents of earlier versions. */
  readonly bgp?: BgpOverview;
}

/** Of the nodes that answer; null if none does. */
export async function askBgp(
  paths: Pick<ClusterPaths, 'node'>,
  nodes: readonly string[],
): Promise<BgpSummary | null> {
  const answers = await Promise.all(
    nodes.map(async (node) => {
      const call = { socketPath: paths.node(node).agentSocket, path: '/status', timeoutMs: 3000 };
      const bgp = await callSocket<AgentStatus>(call).then(
        (answer) => answer.bgp,
        () => undefined,
      );
      return bgp ? [{ node, bgp }] : [];
    }),
  );
  const known = answers.flat();
  return known.length === 0 ? null : sumBgp(known);
}

export const sumBgp = (known: readonly { node: string; bgp: BgpOverview }[]): BgpSummary => ({
  peers: known.reduce((sum, { bgp }) => sum + bgp.peers, 0),
  down: known.flatMap(({ node, bgp }) => bgp.down.map((each) => ({ node, ...each }))),
  problems: known.flatMap(({ node, bgp }) => bgp.problems.map((text) => ({ node, text }))),
});

/** None where nobody speaks BGP. */
export function bgpLines(bgp: BgpSummary | null): string[] {
  if (!bgp || (bgp.peers === 0 && bgp.problems.length === 0)) return [];
  return [
    `BGP       ${bgp.peers - bgp.down.length} of ${bgp.peers} sessions stand`,
    ...bgp.down.map(
      ({ node, peer, address, state, why }) =>
        `  ${node}: ${peer} (${address}) ${state}${why === null ? '' : `: ${why}`}`,
    ),
    ...bgp.problems.map(({ node, text }) => `  ${node}: not in effect: ${text}`),
  ];
}
