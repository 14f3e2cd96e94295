import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { root, upCluster } from './local-cluster.ts';
import { routeRounds } from './route-rounds.ts';
import { placeIn, startTraffic, targetsOf } from './traffic.ts';

interface Pod {
  metadata: { uid: string; labels: Record<string, string> };
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}

interface MoveOutput {
  nodes: { node: string; from: string; to: string; moved: boolean }[];
  cut: { address: string }[];
}

test('nodes move between data paths and ways to each other under traffic, and no connection ends or fails, translated or not', async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/echo'), '--datapath', 'nftables');
  const { items: pods } = JSON.parse(await cluster.must('get', 'pods', '-o', 'json')) as { items: Pod[] };
  const client = pods.find(
    ({ metadata, spec }) => metadata.labels['app'] === 'client' && spec.nodeName === 'node-1',
  );
  const servers = pods.filter(({ metadata }) => metadata.labels['app'] === 'server');
  const service = JSON.parse(await cluster.must('get', 'service', 'server', '-o', 'json')) as {
    spec: { clusterIPs: string[] };
  };
  assert.ok(client && servers.length === 2);
  const place = placeIn(cluster, 'node-1', client.metadata.uid);
  const addresses = servers.flatMap(({ status }) => status.podIPs.map(({ ip }) => ip));
  const services = targetsOf(service.spec.clusterIPs, 80);
  const traffic = [
    await startTraffic(t, place, [...targetsOf(addresses, 8080), ...services]),
    // Sockets of no pod's cgroup have no hooks: what they say is translated packet by packet.
    await startTraffic(t, { netns: place.netns }, services),
  ];
  for (const to of ['ebpf', 'nftables', 'ebpf', 'iptables', 'ebpf']) {
    await sleep(500);
    const dry = JSON.parse(
      await cluster.must('datapath', 'move', to, '--dry-run', '-o', 'json'),
    ) as MoveOutput;
    assert.ok(dry.nodes.every((row) => !row.moved));
    assert.deepEqual(dry.cut, []);
    const done = JSON.parse(await cluster.must('datapath', 'move', to, '-o', 'json')) as MoveOutput;
    assert.ok(done.nodes.every((row) => row.to === to));
    await cluster.must('datapath', 'verify');
  }
  const other = pods.find(
    ({ metadata, spec }) => metadata.labels['app'] === 'client' && spec.nodeName === 'node-2',
  );
  assert.ok(other);
  await routeRounds(t, cluster, [client, other], 'vxlan');
  for (const each of traffic) {
    const { failures, counts } = await each.stop();
    assert.deepEqual(failures, []);
    assert.equal(counts.reconnects, 0, 'a connection had to be made again');
    assert.ok(counts.kept > 100 && counts.new > 100, JSON.stringify(counts));
  }
});
