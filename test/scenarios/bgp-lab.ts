/** A router outside of a local cluster, which its nodes speak BGP with, and a client behind it. */
import type { TestContext } from 'node:test';
import { backwards, connect, place, type Place } from '../../src/bgp/testing/lab.ts';
import type { Router } from '../../src/bgp/testing/bird.ts';
import { until } from '../../src/bgp/testing/until.ts';
import type { ClusterConfig } from '../../src/cluster/config.ts';
import { closeNetns, openNetns } from '../../src/kernel/netns.ts';
import { openRoute } from '../../src/kernel/route.ts';
import { writeSysctl } from '../../src/kernel/sysctl.ts';
import { readFileSync } from 'node:fs';
import { type LocalCluster, execute } from './local-cluster.ts';

export const CLIENT = { 4: '10.1.1.2', 6: 'fd00:1:1::2' } as const;
export const AS = { cluster: 65001, router: 65002 } as const;
const ROUTER = '10.240.0.254';
const PASSWORD = 'heddle';

export interface BgpLab {
  readonly outside: Place;
  readonly client: Place;
  readonly router: Router;
  readonly nodes: ClusterConfig['nodes'];
}

export type StartRouter = (t: Pick<TestContext, 'after'>, ns: Place['ns'], config: string) => Promise<Router>;

/** `config` is told the nodes' IPv4 addresses. */
export async function withRouter(
  test: Pick<TestContext, 'after'>,
  { paths }: LocalCluster,
  start: StartRouter,
  config: (nodes: readonly string[]) => string,
): Promise<BgpLab> {
  const t = backwards(test);
  const ns = openNetns(paths.netns('outside'));
  t.after(() => closeNetns(ns));
  const route = openRoute(ns);
  t.after(() => route.close());
  const outside = { ns, route };
  for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) writeSysctl(ns, key, '1');
  const client = place(t);
  connect(outside, client, 'clients', 1);
  client.route.replaceRoute({ dst: '0.0.0.0/0', via: '10.1.1.1', dev: 'clients' });
  client.route.replaceRoute({ dst: '::/0', via: 'fd00:1:1::1', dev: 'clients' });
  const { nodes } = JSON.parse(readFileSync(paths.config, 'utf8')) as ClusterConfig;
  const addresses = nodes.map((node) => node.addresses.find((each) => !each.includes(':')) ?? '');
  return { outside, client, nodes, router: await start(t, ns, config(addresses)) };
}

/** Takes everything, shares traffic among equal ways, tells 192.168.50.0/24 and fd00:50::/48. */
export const birdOutside = (nodes: readonly string[]): string => `
router id ${ROUTER};
protocol device { scan time 1; }
protocol kernel { ipv4 { export all; import none; }; merge paths yes; }
protocol kernel { ipv6 { export all; import none; }; merge paths yes; }
protocol static { ipv4; route 192.168.50.0/24 blackhole; }
protocol static { ipv6; route fd00:50::/48 blackhole; }
${nodes
  .map(
    (node, i) => `protocol bgp node${i + 1} {
  local ${ROUTER} as ${AS.router};
  neighbor ${node} as ${AS.cluster};
  password "${PASSWORD}";
  passive;
  graceful restart on;
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; };
}`,
  )
  .join('\n')}
`;

export const frrOutside = (nodes: readonly string[]): string => `
frr defaults datacenter
ip route 192.168.50.0/24 blackhole
ipv6 route fd00:50::/48 blackhole
router bgp ${AS.router}
 bgp router-id ${ROUTER}
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
${nodes.map((node) => ` neighbor ${node} remote-as ${AS.cluster}\n neighbor ${node} password ${PASSWORD}\n neighbor ${node} passive`).join('\n')}
 address-family ipv4 unicast
  network 192.168.50.0/24
 exit-address-family
 address-family ipv6 unicast
  network fd00:50::/48
${nodes.map((node) => `  neighbor ${node} activate\n  neighbor ${node} route-map global in`).join('\n')}
 exit-address-family
route-map global permit 10
 set ipv6 next-hop prefer-global
`;

/** Next hops that the router's kernel has for a prefix, sorted. */
export function hopsTo({ route }: Place, dst: string): string[] {
  return route
    .routes()
    .filter((entry) => entry.dst === dst)
    .flatMap(({ via, hops }) => (hops ?? [{ via }]).flatMap((hop) => hop.via ?? []))
    .toSorted();
}

export const waitForHops = (outside: Place, dst: string, hops: readonly string[]): Promise<string[]> =>
  until(
    `the ways to ${dst}`,
    () => hopsTo(outside, dst),
    (now) => now.join() === hops.join(),
  );

/** Which pod's node answers an HTTP request from the client, and whom it sees; undefined where nobody does. */
export async function askFrom(
  { ns }: Place,
  host: string,
  port = 80,
): Promise<{ node: string; peer: string } | undefined> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;
  const curl = ['curl', '-s', '-m', '3', '--fail', url];
  const { code, stdout } = await execute('nsenter', [`--net=${ns.path}`, ...curl]);
  if (code !== 0) return undefined;
  const { node, peer } = JSON.parse(stdout) as { node: string; peer: { address: string } };
  return { node, peer: peer.address };
}
