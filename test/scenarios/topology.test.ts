/** Nodes in zones with links between them, from a cluster file, by the command line alone. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { takeInventory } from '../../src/cluster/snapshot.ts';
import { closeNetns, openNetns } from '../../src/kernel/netns.ts';
import { connectTcp } from '../../src/kernel/sockets.ts';
import type { TopologyOutput } from '../../src/cli/topology-show.ts';
import { schemaViolations } from '../schema.ts';
import { assertAsBefore } from './as-before.ts';
import { deepOnly } from './deep-only.ts';
import { type LocalCluster, localCluster } from './local-cluster.ts';
import { clusterFiles, podsOf, reaches, tries, until } from './zones.ts';

const skip = deepOnly('src/cluster/lines/run.test.ts has zones and their lines without a cluster');

interface NodeObject {
  readonly metadata: { readonly name: string; readonly labels: Record<string, string> };
  readonly status: {
    readonly conditions: readonly { type: string; status: string; message: string }[];
  };
}

const nodesOf = async ({ must }: LocalCluster): Promise<NodeObject[]> =>
  (JSON.parse(await must('get', 'nodes', '-o', 'json')) as { items: NodeObject[] }).items;

async function show(cluster: LocalCluster, ...flags: string[]): Promise<TopologyOutput> {
  const output = JSON.parse(await cluster.must('topology', 'show', '-o', 'json', ...flags)) as TopologyOutput;
  assert.deepEqual(schemaViolations('topology', output), []);
  return output;
}

const asked = async (cluster: LocalCluster) => (await show(cluster, '--no-measure')).links[0]?.asked;

/** A stand-in says what it saw first, and then echoes. */
async function answers(socket: Socket): Promise<boolean> {
  const answer = once(socket, 'data', { signal: AbortSignal.timeout(120_000) });
  socket.write('heddle: who am I?\n');
  return String((await answer)[0]).length > 0;
}

test('two zones with 20 ms between them: reached, shown, changed, and left without a trace', {
  skip,
  timeout: 300_000,
}, async (t) => {
  const cluster = await localCluster(t);
  const { must, heddle } = cluster;
  const before = takeInventory();
  const zones = { a1: 'a', a2: 'a', b1: 'b' };
  const files = clusterFiles(t, 'zones', zones);
  const port = ['--api-port', String(cluster.apiPort)];
  await must('up', ...port, '-f', files.write('latency: 20ms'));
  assert.deepEqual(
    (await nodesOf(cluster)).map(({ metadata: { name, labels } }) => [
      name,
      labels['topology.kubernetes.io/zone'],
    ]),
    Object.entries(zones),
  );
  const pods = await podsOf(must);
  const [a1, a2, b1] = ['a1', 'a2', 'b1'].map((node) => pods.get(node));
  assert.ok(a1 && a2 && b1);
  await reaches(must, 'a1', a2);
  await reaches(must, 'a1', b1);
  await reaches(must, 'b1', a2);

  const first = await show(cluster);
  assert.deepEqual(
    first.groups.map(({ name, nodes }) => [name, nodes]),
    [
      ['a', ['a1', 'a2']],
      ['b', ['b1']],
    ],
  );
  const [link] = first.links;
  assert.deepEqual([first.links.length, link?.between, link?.asked], [1, ['a', 'b'], { latency: 20 }]);
  // No packet is early, however busy the machine is.
  assert.ok((link?.roundTrip?.least ?? 0) >= 40, JSON.stringify(link));
  assert.ok(link?.carried.every(({ frames }) => frames > 0));
  assert.match(await must('topology', 'show'), /a – b +20 ms +[\d.]+ ms, at least/);

  await must('topology', 'set', 'a', 'b', '--latency', '2ms', '--loss', '100%');
  assert.deepEqual(await asked(cluster), { latency: 2, loss: 1 });
  assert.notEqual((await tries(heddle, 'a1', b1)).code, 0, 'the zones are cut off from each other');
  await reaches(must, 'a1', a2);
  await must('up', '-f', files.write('latency: 5ms, jitter: 1ms'));
  assert.deepEqual(await asked(cluster), { latency: 5, jitter: 1 });
  await reaches(must, 'a1', b1);
  const moved = await heddle('up', '-f', files.write('latency: 5ms', { ...zones, a2: 'b' }));
  assert.equal(moved.code, 2, moved.stderr);
  assert.match(
    moved.stderr,
    /nodes, zones, racks or MTU are not those of the running cluster.*ClusterDiffers/,
  );

  const ns = openNetns(cluster.paths.netns(`pod-${a1.metadata.uid}`));
  const socket = await connectTcp(ns, { host: b1.status.podIPs[0]?.ip ?? '', port: 8080 });
  closeNetns(ns);
  t.after(() => socket.destroy());
  const lines = async () => (await cluster.status()).processes.find(({ name }) => name === 'lines');
  assert.ok(await answers(socket));
  const killed = await lines();
  assert.ok(killed);
  process.kill(killed.pid, 'SIGKILL');
  assert.ok(await answers(socket), 'a connection between the zones goes on');
  const now = await until('the lines are back', lines, (each) => each?.state === 'running');
  assert.deepEqual([now?.restarts, now?.pid === killed.pid], [1, false]);
  assert.deepEqual(await asked(cluster), { latency: 5, jitter: 1 }, 'as they were last');
  socket.destroy();
  await must('down');
  await assertAsBefore(before, cluster);
});

/** What a Service asks for and cannot have by these ways is said where the data path is asked for. */
async function tellsOfDirectReturn({ must }: LocalCluster, clusterFile: string): Promise<void> {
  const file = join(dirname(clusterFile), 'direct.json');
  const metadata = { name: 'direct', annotations: { 'heddle.dev/forwarding': 'dsr' } };
  const spec = { type: 'NodePort', selector: { app: 'echo' }, ports: [{ port: 8080 }] };
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'Service', metadata, spec }));
  await must('apply', '-f', file);
  const words =
    /Service default\/direct metadata\.annotations\[heddle\.dev\/forwarding\].*needs VXLAN .*go by native: snat is used/;
  await until(
    'the data path says it',
    () => must('datapath', 'status'),
    (text) => words.test(text),
  );
}

const WAYS = [
  // Of 1,400 bytes VXLAN takes 50.
  ['overlay', /a1 to b1 by vxlan \(IPv4\): packets of 1350 bytes pass, of 1351 to 1450 bytes vanish/],
  ['native', /a1 to b1 by routes \(IPv4\): packets of 1400 bytes pass, of 1401 to 1500 bytes vanish/],
] as const;

for (const [routing, words] of WAYS)
  test(`a link that swallows large packets is told by its nodes, status and doctor, until it is mended: ${routing}`, {
    skip,
    timeout: 300_000,
  }, async (t) => {
    const cluster = await localCluster(t);
    const { must, heddle } = cluster;
    const files = clusterFiles(t, 'hole', { a1: 'a', b1: 'b' });
    const port = ['--api-port', String(cluster.apiPort)];
    const file = files.write('latency: 1ms, blackHoleAbove: 1400');
    await must('up', ...port, '--routing', routing, '-f', file);
    const conditions = async () =>
      (await nodesOf(cluster)).map(({ status }) =>
        status.conditions.find(({ type }) => type === 'heddle.dev/PathMTU'),
      );
    const all = (status: string) => (found: Awaited<ReturnType<typeof conditions>>) =>
      found.every((one) => one?.status === status);
    const told = await until('both nodes tell of the black hole', conditions, all('False'));
    assert.match(told[0]?.message ?? '', words);
    assert.match(told[0]?.message ?? '', /between the nodes themselves 1400 of 1500 bytes pass/);
    assert.match(told[1]?.message ?? '', /b1 to a1 by (vxlan|routes)/);
    assert.match(await must('status'), words);
    const doctor = await heddle('doctor');
    assert.equal(doctor.code, 1, doctor.stderr);
    assert.match(doctor.stdout, words);

    if (routing === 'native') await tellsOfDirectReturn(cluster, file);

    await must('topology', 'set', 'a', 'b', '--black-hole-above', 'none');
    await until('both nodes find the link mended', conditions, all('True'));
    assert.doesNotMatch(await must('status'), /vanish/);

    // Cut off altogether is no black hole, and neither is a link that loses of any size.
    for (const loss of ['100%', '40%']) {
      await must('topology', 'set', 'a', 'b', '--loss', loss);
      const prove = await must('topology', 'show');
      assert.match(prove, /lost/);
      assert.ok((await conditions()).every((one) => one?.status !== 'False'));
    }
  });
