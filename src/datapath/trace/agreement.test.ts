/** Whoever speaks to whomever, by whatever service: an untouched kernel is never said to differ from the plan. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { Protocol } from '../../policy/world.ts';
import type { NodeView } from '../dump/source.ts';
import { frontendKey } from '../plan/tables.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import { type FrontendWish, frontendsOn, publicAddresses } from '../testing/frontends.ts';
import { OUTSIDE } from '../testing/lab.ts';
import { dryRun } from './dry.ts';
import type { TracePacket } from './result.ts';
import { trace } from './trace.ts';

const clusterAddresses = (index: number): [string, string] => [`10.96.0.${index}`, `fd00:10:96::${index}`];

const protocolsOf = (dst: string, port: number): Protocol[] => [
  'TCP',
  ...(port === 80 || port === 8080 ? (['UDP'] as const) : []),
  ...(dst.endsWith('21') ? (['SCTP'] as const) : []),
  ...(port === 9 ? (['ICMP'] as const) : []),
];

test('traces of an untouched kernel agree with its plan', {
  skip: needsRoot,
  timeout: 240_000,
}, async (t) => {
  const cluster = await createCluster(t, openEbpf, [
    ['a', 'b'],
    ['c', 'd'],
  ]);
  const { lab, plans, backends, setPolicies, setFrontends, pod } = cluster;
  const [a, b, c] = [pod('a'), pod('b'), pod('c')];
  const pods = [b, c];
  const wishes: FrontendWish[] = [
    { kind: 'ClusterIP', addresses: clusterAddresses(21), port: 80, pods },
    { kind: 'ClusterIP', addresses: clusterAddresses(22), port: 80, pods, algorithm: 'round-robin' },
    { kind: 'ClusterIP', addresses: clusterAddresses(23), port: 80, pods, algorithm: 'maglev' },
    { kind: 'ClusterIP', addresses: clusterAddresses(24), port: 80, pods, algorithm: 'least-connection' },
    { kind: 'ClusterIP', addresses: clusterAddresses(25), port: 80, pods, affinitySeconds: 60 },
    { kind: 'ClusterIP', addresses: clusterAddresses(26), port: 80, pods, weights: { b: 0 } },
    { kind: 'ClusterIP', addresses: clusterAddresses(27), port: 80, pods: [c], local: true },
    { kind: 'ClusterIP', addresses: clusterAddresses(28), port: 80, pods: [] },
    { kind: 'ClusterIP', addresses: clusterAddresses(29), port: 80, pods: [], whenEmpty: 'drop' },
    { kind: 'ClusterIP', addresses: clusterAddresses(30), port: 80, pods: [a] },
    { kind: 'ClusterIP', addresses: clusterAddresses(21), port: 80, pods, protocol: 'UDP' },
    { kind: 'ClusterIP', addresses: clusterAddresses(21), port: 80, pods, protocol: 'SCTP' },
    { kind: 'NodePort', port: 30080, pods },
    { kind: 'NodePort', port: 30081, pods: [c], local: true },
    { kind: 'NodePort', port: 30082, pods: [] },
    { kind: 'NodePort', port: 30083, pods, forwarding: 'dsr' },
    { kind: 'LoadBalancer', addresses: publicAddresses(1), port: 80, pods },
    { kind: 'LoadBalancer', addresses: publicAddresses(2), port: 80, pods, forwarding: 'dsr' },
    { kind: 'LoadBalancer', addresses: publicAddresses(3), port: 80, pods, sourceRanges: ['203.0.113.0/24'] },
    { kind: 'ExternalIP', addresses: publicAddresses(4), port: 80, pods: [b], local: true },
  ];
  const views = () =>
    new Map(
      lab.nodes.map((node, i): [string, NodeView] => {
        const services = new Map(frontendsOn(node, wishes).map((each) => [frontendKey(each), each]));
        return [
          node.name,
          {
            node: node.name,
            backend: 'ebpf',
            state: { ...plans[i]!.state, services },
            pods: lab.pods.map(({ key, node: at, addresses }) => ({ pod: key, node: at, addresses })),
            nodes: lab.nodes.map(({ remote }) => ({ name: remote.node, addresses: remote.addresses })),
          },
        ];
      }),
    );
  await setFrontends(wishes);
  const clients = (family: 0 | 1) => [
    ...lab.pods.map(({ addresses }) => addresses[family]),
    ...lab.nodes.map(({ settings }) => settings.nodeAddresses[family] ?? ''),
    OUTSIDE[family],
  ];
  const servers = (family: 0 | 1): [string, number][] => [
    ...lab.pods.flatMap(({ addresses }): [string, number][] => [
      [addresses[family], 8080],
      [addresses[family], 9],
    ]),
    ...lab.nodes.flatMap(({ settings }): [string, number][] =>
      [22, 30080, 30081, 30082, 30083].map((port) => [settings.nodeAddresses[family] ?? '', port]),
    ),
    ...wishes.flatMap(({ addresses }): [string, number][] =>
      addresses
        ? [
            [addresses[family], 80],
            [addresses[family], 81],
          ]
        : [],
    ),
    [family === 0 ? '10.96.0.10' : 'fd00:10:96::a', 53],
    [family === 0 ? '10.96.0.99' : 'fd00:10:96::99', 80],
    [family === 0 ? '10.244.1.200' : 'fd00:10:244:1::200', 80],
    [family === 0 ? '10.244.9.9' : 'fd00:10:244:9::9', 80],
    [OUTSIDE[family], 443],
  ];

  const packetsOf = (): TracePacket[] =>
    ([0, 1] as const).flatMap((family) =>
      clients(family).flatMap((src) =>
        servers(family).flatMap(([dst, dport]) =>
          protocolsOf(dst, dport).map((protocol) => {
            const port = protocol === 'ICMP' ? 0 : dport;
            return { protocol, src, sport: 0, dst, dport: port };
          }),
        ),
      ),
    );

  let [packets, asked] = [0, 0];
  const wrong: string[] = [];
  const ask = (node: string, packet: Parameters<NonNullable<(typeof backends)[0]['probe']>>[0]) => {
    asked++;
    return backends[lab.nodes.findIndex(({ name }) => name === node)]!.probe!(packet);
  };
  async function agree(packet: TracePacket): Promise<void> {
    const all = views();
    const traced = trace(packet, all);
    assert.ok(traced);
    const dry = await dryRun(traced, all, ask);
    packets++;
    for (const difference of dry.differences) wrong.push(JSON.stringify({ difference, packet }));
  }

  const ports = (...list: number[]) => list.map((port) => ({ port }));
  for (const policies of [
    {},
    {
      b: { podSelector: { matchLabels: { app: 'b' } }, ingress: [{ ports: ports(8080) }] },
      c: {
        podSelector: { matchLabels: { app: 'c' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: 'a' } } }] }],
      },
      a: {
        podSelector: { matchLabels: { app: 'a' } },
        policyTypes: ['Egress' as const],
        egress: [{ ports: ports(8080, 30080, 53) }],
      },
    },
  ]) {
    await setPolicies(policies);
    for (const packet of packetsOf()) await agree(packet);
  }
  assert.equal(
    wrong.length,
    0,
    `${wrong.length} of ${packets}, the first of them:\n${wrong.slice(0, 80).join('\n')}`,
  );
  t.diagnostic(`${packets} packets, programs asked ${asked} times`);
});
