import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { root, upCluster } from './local-cluster.ts';
import { placeIn, startTraffic, targetsOf } from './traffic.ts';

/** The clients' own, for an answer. */
const LIMIT_MS = 5500;

interface Pod {
  metadata: { uid: string; labels: Record<string, string> };
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}

interface MoveOutput {
  nodes: { node: string; from: string; to: string; moved: boolean }[];
  cut: { address: string }[];
}

test('nodes move between data paths under traffic: what is not translated goes on, the rest is told before', async (t) => {
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
  const straight = await startTraffic(t, place, targetsOf(addresses, 8080));
  const byService = await startTraffic(t, place, targetsOf(service.spec.clusterIPs, 80));
  const moves: { from: number; to: number }[] = [];
  for (const to of ['ebpf', 'nftables', 'ebpf']) {
    await sleep(500);
    const refused = await cluster.heddle('datapath', 'move', to);
    if (refused.code !== 0) assert.match(refused.stderr, /connections?: .*echo|WouldCut/);
    const dry = JSON.parse(
      await cluster.must('datapath', 'move', to, '--dry-run', '-o', 'json'),
    ) as MoveOutput;
    assert.ok(dry.nodes.every((row) => !row.moved));
    for (const { address } of dry.cut) assert.match(address, /^(\[fd00:10:96:|10\.96\.)/);
    const from = Date.now();
    const done = JSON.parse(
      await cluster.must('datapath', 'move', to, '--anyway', '-o', 'json'),
    ) as MoveOutput;
    moves.push({ from, to: Date.now() });
    assert.ok(done.nodes.every((row) => row.to === to));
    await cluster.must('datapath', 'verify');
  }
  await sleep(500);
  const report = await straight.stop();
  assert.deepEqual(report.failures, []);
  assert.equal(report.counts.reconnects, 0, 'a connection that nobody translates had to be made again');
  assert.ok(report.counts.kept > 100 && report.counts.new > 100, JSON.stringify(report.counts));
  const services = await byService.stop();
  const broken = services.failures.filter(({ way }) => way === 'new');
  // These clients are in no pod's cgroup, so their packets are translated: who is just asking is cut.
  for (const { at } of broken)
    assert.ok(
      moves.some(({ from, to }) => at >= from && at <= to + LIMIT_MS),
      `at ${at}, not during ${JSON.stringify(moves)}`,
    );
  assert.ok(broken.length <= 2 * moves.length, JSON.stringify(broken));
});
