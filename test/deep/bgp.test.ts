import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startBird } from '../../src/bgp/testing/bird.ts';
import { startFrr } from '../../src/bgp/testing/frr.ts';
import { noneLost, stream } from '../../src/bgp/testing/lab.ts';
import { until } from '../../src/bgp/testing/until.ts';
import { testFolder } from '../../src/kernel/test-netns.ts';
import {
  askFrom,
  birdOutside,
  CLIENT,
  frrOutside,
  hopsTo,
  waitForHops,
  withRouter,
} from '../scenarios/bgp-lab.ts';
import { type LocalCluster, root, upCluster } from '../scenarios/local-cluster.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

interface Item {
  metadata: { name: string };
  spec: { nodeName?: string };
  status: {
    podIPs?: { ip: string }[];
    loadBalancer?: { ingress?: { ip: string }[] };
    bgpInstances?: { peers: { establishedTime?: string }[] }[];
  };
}

const items = async (cluster: LocalCluster, kind: string): Promise<Item[]> =>
  (JSON.parse(await cluster.must('get', kind, '-o', 'json')) as { items: Item[] }).items;

for (const [name, start, config] of [
  ['bird', startBird, birdOutside],
  ['FRR', startFrr, frrOutside],
] as const)
  test(`${name} outside learns pods and balancers, and goes on over the death of agents`, {
    skip: !deep && 'takes a minute: npm run check:deep (not in CI)',
    timeout: 300_000,
  }, async (t) => {
    const cluster = await upCluster(t, join(root, 'test/manifests/bgp'), '--nodes', '2');
    const { outside, client, nodes, router } = await withRouter(t, cluster, start, config);
    const services = await until(
      'addresses',
      () => items(cluster, 'services'),
      (all) =>
        ['anywhere', 'local', 'moving'].every(
          (one) =>
            all.find(({ metadata }) => metadata.name === one)?.status.loadBalancer?.ingress?.length === 2,
        ),
    );
    const addressesOf = (one: string) =>
      (services.find(({ metadata }) => metadata.name === one)?.status.loadBalancer?.ingress ?? []).map(
        ({ ip }) => ip,
      );
    const hosts = { 4: ['10.240.0.1', '10.240.0.2'], 6: ['fd00:10:240::1', 'fd00:10:240::2'] } as const;
    const familyOf = (address: string) => (address.includes(':') ? 6 : 4);
    const single = (address: string) => `${address}/${address.includes(':') ? 128 : 32}`;

    for (const [i, { podCidrs }] of nodes.entries())
      for (const cidr of podCidrs) await waitForHops(outside, cidr, [hosts[familyOf(cidr)][i] ?? '']);
    for (const address of [...addressesOf('anywhere'), ...addressesOf('local')]) {
      await waitForHops(outside, single(address), hosts[familyOf(address)]);
      assert.equal((await askFrom(client, address))?.peer !== undefined, true, address);
    }
    for (const address of addressesOf('local'))
      assert.equal((await askFrom(client, address))?.peer, CLIENT[familyOf(address)]);
    for (const { status } of await items(cluster, 'pods'))
      for (const { ip } of status.podIPs ?? [])
        assert.equal((await askFrom(client, ip, 8080))?.peer, CLIENT[familyOf(ip)], ip);

    // One agent is killed under traffic, the other is replaced: nothing is lost, and no route goes away.
    const pods = (await items(cluster, 'pods')).filter(({ metadata }) => metadata.name.startsWith('server'));
    const podAddresses = pods.flatMap(({ status }) => (status.podIPs ?? []).map(({ ip }) => ip));
    const streams = [...addressesOf('anywhere'), ...podAddresses].map((to) =>
      stream(t, client, CLIENT[familyOf(to)], to),
    );
    const agents = async () =>
      (await cluster.status()).processes.filter(({ name: process }) => process.includes('agent'));
    const sinces = async () =>
      (await items(cluster, 'ciliumbgpnodeconfigs')).map(
        ({ status }) => status.bgpInstances?.[0]?.peers[0]?.establishedTime,
      );
    const before = await until('sessions in status', sinces, (all) => all.length === 2 && all.every(Boolean));
    await noneLost(streams);
    const prefix = single(addressesOf('anywhere')[0] ?? '');
    const other: string[][] = [];
    const watching = setInterval(() => {
      const hops = hopsTo(outside, prefix);
      if (hops.join() !== hosts[4].join()) other.push(hops);
    }, 20);
    t.after(() => clearInterval(watching));
    for (const [i, { pid }] of (await agents()).entries()) process.kill(pid, i === 0 ? 'SIGKILL' : 'SIGTERM');
    await until('new sessions', sinces, (now) => now.every((since, i) => since && since !== before[i]));
    await noneLost(streams);
    clearInterval(watching);
    assert.deepEqual(other, []);
    for (const each of streams) each.stop();

    // The only backend of a Local service moves.
    const [moving = ''] = addressesOf('moving');
    await waitForHops(outside, single(moving), ['10.240.0.1']);
    assert.equal((await askFrom(client, moving))?.node, 'node-1');
    const folder = testFolder(t);
    const text = readFileSync(join(root, 'test/manifests/bgp/workloads.yaml'), 'utf8');
    writeFileSync(join(folder, 'moved.yaml'), text.replace('hostname: node-1', 'hostname: node-2'));
    await cluster.must('apply', '-f', join(folder, 'moved.yaml'));
    await waitForHops(outside, single(moving), ['10.240.0.2']);
    await until(
      'an answer from the other node',
      () => askFrom(client, moving),
      (answer) => answer?.node === 'node-2',
    );

    // What the router tells is taken where the configuration says so, and the CLI shows it.
    const { routes } = JSON.parse(await cluster.must('bgp', 'routes', 'available', '-o', 'json')) as {
      routes: { node: string; peer: string | null; prefix: string }[];
    };
    const taken = routes.filter(({ peer }) => peer !== null).map(({ node, prefix }) => `${node} ${prefix}`);
    assert.deepEqual(taken.toSorted(), [
      'node-1 192.168.50.0/24',
      'node-1 fd00:50::/48',
      'node-2 192.168.50.0/24',
      'node-2 fd00:50::/48',
    ]);
    assert.match(await cluster.must('status'), /BGP +2 of 2 sessions stand/);

    // The cluster goes down: the router is told, and waits for nobody.
    await cluster.must('down', '--keep');
    await until(
      'the farewell',
      () => router.ask(name === 'bird' ? 'show protocols all' : 'show bgp neighbors'),
      (text) => text.split(/Administrative[ _]Shutdown/i).length > 2,
    );
  });
