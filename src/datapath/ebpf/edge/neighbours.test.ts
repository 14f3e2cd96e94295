import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSysctl, writeSysctl } from '../../../kernel/sysctl.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { silentLog } from '../../../lib/log.ts';
import type { PacketFlow } from '../../packet.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf, openEbpfWith } from '../../testing/ebpf.ts';
import { GATEWAYS, type LabNode } from '../../testing/lab.ts';
import { sendPacket, settled, witness } from '../../testing/packets.ts';
import type { Programs } from '../loader.ts';
import { createNodeNeighbours, type NeighbourRoute } from '../../neighbours.ts';
import { createEdgePart } from './part.ts';

for (const who of ['another node', 'a pod of another node'])
  for (const family of [4, 6] as const)
    test(`the first datagram of ${who} arrives, family ${family}, where nothing was said before`, {
      skip: needsRoot,
    }, async (t) => {
      const { lab, pod, backends } = await createCluster(t, openEbpf);
      const [here, there] = [lab.nodes[0]!, lab.nodes[1]!];
      const heard: PacketFlow[] = [];
      witness(t, here.ns, (flow) => void heard.push(flow));
      const of = (addresses: readonly string[]) => addresses[family === 4 ? 0 : 1] ?? '';
      const isPod = who.startsWith('a pod');
      const from = isPod ? pod('c') : { ns: there.ns, addresses: there.remote.addresses };
      const dst = of(here.remote.addresses);
      const flow = { family, protocol: 17, src: of(from.addresses), dst, sport: 20_001, dport: 53 };
      sendPacket(from.ns, flow, AbortSignal.timeout(60_000));
      await settled(
        () => heard.length > 0,
        () => JSON.stringify([...(backends[0]!.drops?.() ?? [])].filter(([, { packets }]) => packets > 0)),
      );
    });

test('a node that was away when it was asked for is heard once it is back', {
  skip: needsRoot,
}, async (t) => {
  const work: (() => Promise<void>)[] = [];
  const parts = (_t: unknown, { ns, route }: LabNode, programs: Programs) => [
    createEdgePart({
      programs,
      ns,
      route,
      readSysctl: (key) => readSysctl(ns, key),
      writeSysctl: (key, value) => writeSysctl(ns, key, value),
      every: (_seconds, again) => {
        work.push(again);
        return () => {};
      },
      log: silentLog,
    }),
  ];
  const { lab, plans, backends } = await createCluster(t, openEbpfWith({ parts }));
  const [here, there] = [lab.nodes[0]!, lab.nodes[1]!];
  const [v4, v6] = there.remote.addresses;
  assert.ok(v4 && v6);
  const heard: PacketFlow[] = [];
  witness(t, here.ns, (flow) => void heard.push(flow));
  there.route.setLink('eth0', { up: false });
  here.route.deleteNeighbour({ dev: 'eth0', address: v4 });
  writeSysctl(here.ns, 'net.ipv4.neigh.eth0.retrans_time_ms', '10');
  await backends[0]!.prune(plans[0]!.state);
  // Until the kernel has given up.
  await new Promise((resolve) => setTimeout(resolve, 300));
  there.route.setLink('eth0', { up: true });
  there.route.replaceAddress('eth0', `${v6}/64`, { nodad: true });
  const neighbours = () =>
    here.route.neighbours().filter(({ address, permanent }) => address === v4 && !permanent);
  await settled(
    () => {
      for (const again of work) void again();
      return neighbours().some(({ mac }) => mac !== '');
    },
    () => JSON.stringify(neighbours()),
  );
  const dst = here.remote.addresses[1] ?? '';
  const flow = { family: 6, protocol: 17, src: v6, dst, sport: 20_001, dport: 53 } as const;
  sendPacket(there.ns, flow, AbortSignal.timeout(60_000));
  await settled(
    () => heard.length > 0,
    () => JSON.stringify([...(backends[0]!.drops?.() ?? [])]),
  );
});

test('the kernel is asked for other nodes’ link addresses, and forgets them with the nodes', {
  skip: needsRoot,
}, async (t) => {
  const { lab, plans, backends, apply } = await createCluster(t, openEbpf);
  const [{ route }, { remote }] = [lab.nodes[0]!, lab.nodes[1]!];
  const uplink = route.link('eth0')!.index;
  const asked = () => route.neighbours().filter(({ dev, protocol }) => dev === uplink && protocol === 72);
  const known = [
    { dev: uplink, address: remote.addresses[0], mac: '02:00:00:00:ff:02', permanent: false, protocol: 72 },
  ];
  assert.deepEqual(asked(), known);

  route.deleteNeighbour({ dev: 'eth0', address: remote.addresses[0]! });
  const missing = [{ kind: 'missing', what: `neighbour ${remote.addresses[0]}` }];
  assert.deepEqual(await backends[0]!.verify(), missing);
  assert.deepEqual(await backends[0]!.prune(plans[0]!.state), missing);
  assert.deepEqual(asked(), known);

  plans[0]!.removeNode(remote.node);
  await apply();
  assert.deepEqual(asked(), []);
  assert.deepEqual(await backends[0]!.verify(), []);
});

test('nodes behind a gateway make it the neighbour; nodes by other links, or out of reach, none', () => {
  const asks: string[] = [];
  const forgotten: string[] = [];
  const ways: Record<string, { via: string | undefined; dev: number }> = {
    '10.1.0.1': { via: GATEWAYS[0], dev: 2 },
    '10.1.0.2': { via: GATEWAYS[0], dev: 2 },
    '10.240.0.12': { via: undefined, dev: 2 },
    '10.240.0.13': { via: undefined, dev: 2 },
    '10.9.0.1': { via: undefined, dev: 3 },
  };
  const entry = (address: string, mac: string, dev = 2, protocol = 72, permanent = false) => ({
    address,
    mac,
    dev,
    protocol,
    permanent,
  });
  const route: NeighbourRoute = {
    links: () => [2, 3].map((index) => ({ index, name: `eth${index}` })),
    routeTo: (address) => ways[address],
    neighbours: () => [
      entry('10.240.0.12', '02:00:00:00:ff:02'),
      entry('10.240.0.13', ''),
      entry('10.240.0.99', '02:00:00:00:ff:63'),
      entry('10.240.0.12', '02:00:00:00:ff:02', 3),
      entry('10.240.0.98', '02:00:00:00:ff:62', 2, 0),
      entry('10.240.0.97', '02:00:00:00:ff:61', 3, 72, true),
    ],
    askNeighbour: ({ dev, address }) => void asks.push(`${dev} ${address}`),
    deleteNeighbour: ({ dev, address }) => forgotten.push(`${dev} ${address}`) > 0,
  };
  const neighbours = createNodeNeighbours(route);
  const owners = [...Object.keys(ways), '10.8.0.1'];
  const differences = [
    { kind: 'foreign', what: 'neighbour 10.240.0.99' },
    { kind: 'foreign', what: 'neighbour 10.240.0.12' },
    { kind: 'missing', what: `neighbour ${GATEWAYS[0]}` },
  ];
  assert.deepEqual(neighbours.verify(2, owners), differences);
  assert.deepEqual([asks, forgotten], [[], []]);
  assert.deepEqual(neighbours.prune(2, owners), differences);
  assert.deepEqual(asks, [`eth2 ${GATEWAYS[0]}`, 'eth2 10.240.0.13']);
  assert.deepEqual(forgotten, ['eth2 10.240.0.99', 'eth3 10.240.0.12']);
  forgotten.length = 0;
  neighbours.remove();
  assert.deepEqual(forgotten, [
    'eth2 10.240.0.12',
    'eth2 10.240.0.13',
    'eth2 10.240.0.99',
    'eth3 10.240.0.12',
  ]);
});
