/** What the scenarios of services share. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openRoute } from '../../kernel/route.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { backendProblems } from '../plan/problems.ts';
import type { FrontendKind } from '../plan/tables.ts';
import { type Cluster, createCluster, type OpenBackend, serviceAddresses } from './cluster.ts';
import { type FrontendWish, frontendsOn, publicAddresses, TARGETS } from './frontends.ts';
import { slicedTest } from './pace.ts';
import { type Answer, dialTcp, dialUdp, serveTcp, serveUdp } from './traffic.ts';

export const FAMILIES = [0, 1] as const;
export const PROTOCOLS = ['TCP', 'UDP'] as const;
export const PODS = [
  ['a', 'b'],
  ['c', 'd'],
] as const;
export const NODE_PORT = 30_080;

export const dialers = { TCP: dialTcp, UDP: dialUdp } as const;

/** Every pod answers with its name at `TARGETS`. */
export function serveAll(t: TestContext, { lab }: Cluster): void {
  for (const each of lab.pods) {
    serveTcp(t, each.ns, TARGETS.TCP, each.name);
    serveUdp(t, each.ns, each.addresses, TARGETS.UDP, each.name);
  }
}

/** The outside reaches what `publicAddresses` names by way of the node with that index. */
export function announce(t: TestContext, { lab }: Cluster, addresses: readonly string[], node: number): void {
  const route = openRoute(lab.outside);
  for (const [family, address] of addresses.entries())
    route.replaceRoute({
      dst: `${address}/${family === 0 ? 32 : 128}`,
      via: lab.nodes[node]?.remote.addresses[family] ?? '',
      dev: 'eth0',
    });
  t.after(() => route.close());
}

/** False where the backend cannot: then it must say so, for each frontend that asks. */
export function offers({ lab, backends }: Cluster, wish: FrontendWish): boolean {
  const frontends = frontendsOn(lab.nodes[0]!, [wish]);
  return backendProblems(frontends, backends[0]!).length === 0;
}

export async function distinct(count: number, tries: number, dial: () => Promise<Answer>): Promise<string[]> {
  const servers = new Set<string>();
  for (let i = 0; i < tries && servers.size < count; i++) {
    const answer = await dial();
    servers.add(answer.server ?? answer.why ?? '');
  }
  return [...servers].sort();
}

/** Port 80 at the first cluster or public address, or the node port. */
export const wish = (
  kind: FrontendKind,
  pods: FrontendWish['pods'],
  more: Partial<FrontendWish> = {},
): FrontendWish => ({
  kind,
  port: kind === 'NodePort' ? NODE_PORT : 80,
  ...(kind === 'NodePort'
    ? {}
    : { addresses: kind === 'ClusterIP' ? serviceAddresses(1) : publicAddresses(1) }),
  pods,
  ...more,
});
export const both = (one: FrontendWish): FrontendWish[] =>
  PROTOCOLS.map((protocol) => ({ ...one, protocol }));

/** Tests over two nodes with pods a and b on the first, c and d on the second; what they leave must verify. */
export const scenarios =
  (name: string, openBackend: OpenBackend) =>
  (what: string, fn: (t: TestContext, cluster: Cluster) => Promise<void>): void =>
    slicedTest(`${name}: ${what}`, { skip: needsRoot }, async (t) => {
      const cluster = await createCluster(t, openBackend, PODS);
      serveAll(t, cluster);
      await fn(t, cluster);
      for (const backend of cluster.backends) assert.deepEqual(await backend.verify(), []);
    });
