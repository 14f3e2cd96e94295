import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execute, type LocalCluster, root, upCluster } from './local-cluster.ts';
import { startTraffic, type Traffic, targetsOf } from './traffic.ts';

interface Pod {
  metadata: { name: string; uid: string; labels: Record<string, string> };
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}

const manifests = join(root, 'test/manifests/echo');

async function pods({ must }: LocalCluster): Promise<Pod[]> {
  return (JSON.parse(await must('get', 'pods', '-o', 'json')) as { items: Pod[] }).items;
}

/** Traffic from a pod on node-1 to a pod on each node and to the service, over both families. */
async function trafficInCluster(t: TestContext, cluster: LocalCluster): Promise<Traffic> {
  const all = await pods(cluster);
  const client = all.find(
    ({ metadata, spec }) => metadata.labels['app'] === 'client' && spec.nodeName === 'node-1',
  );
  const servers = all.filter(({ metadata }) => metadata.labels['app'] === 'server');
  assert.ok(client && servers.length === 2);
  const service = JSON.parse(await cluster.must('get', 'service', 'server', '-o', 'json')) as {
    spec: { clusterIPs: string[] };
  };
  const addresses = servers.flatMap(({ status }) => status.podIPs.map(({ ip }) => ip));
  return startTraffic(t, cluster.paths.netns(`pod-${client.metadata.uid}`), [
    ...targetsOf(addresses, 8080),
    ...targetsOf(service.spec.clusterIPs, 80),
  ]);
}

async function processOf(
  cluster: LocalCluster,
  name: string,
): Promise<{ pid: number; state: string } | undefined> {
  return (await cluster.status()).processes.find((process) => process.name === name);
}

/** Kills a process and waits until another one of its name runs. */
async function killAndWait(cluster: LocalCluster, name: string): Promise<void> {
  const before = await processOf(cluster, name);
  assert.ok(before, `no process is called ${name}: ${JSON.stringify((await cluster.status()).processes)}`);
  process.kill(before.pid, 'SIGKILL');
  for (let i = 0; i < 100; i++) {
    const now = await processOf(cluster, name);
    if (now && now.pid !== before.pid && now.state === 'running') return;
    await sleep(100);
  }
  assert.fail(`${name} did not come back`);
}

const ruleset = async ({ paths }: LocalCluster): Promise<string> => {
  const listed = await execute('nsenter', [
    `--net=${paths.netns('node-1')}`,
    'nft',
    '-a',
    'list',
    'table',
    'inet',
    'heddle',
  ]);
  // Handles say which objects were made anew; counters go on.
  return listed.stdout.replace(/packets \d+ bytes \d+/g, '');
};

test('no connection notices that a process of the cluster was killed', { timeout: 300_000 }, async (t) => {
  const cluster = await upCluster(t, manifests);
  for (const name of ['api-server', 'controllers', 'agent-node-1', 'stand-in-node-1', 'agent-node-2'])
    await t.test(`kill -9 ${name}`, async (t) => {
      const before = await ruleset(cluster);
      const traffic = await trafficInCluster(t, cluster);
      await sleep(500);
      await killAndWait(cluster, name);
      await sleep(2500);
      const report = await traffic.stop();
      assert.deepEqual(report.failures, []);
      assert.equal(report.counts.reconnects, 0, 'a kept connection had to be made again');
      assert.ok(report.counts.kept > 100 && report.counts.new > 100, JSON.stringify(report.counts));
      assert.equal(await ruleset(cluster), before, 'a restart changes nothing in the kernel');
    });

  await t.test('names resolve within two seconds after the agent was killed', async () => {
    const client = (await pods(cluster)).find(
      ({ metadata, spec }) => metadata.labels['app'] === 'client' && spec.nodeName === 'node-1',
    );
    const agent = await processOf(cluster, 'agent-node-1');
    assert.ok(client && agent);
    process.kill(agent.pid, 'SIGKILL');
    await sleep(2000);
    const address = await cluster.must('exec', client.metadata.name, '--', 'getent', 'ahosts', 'server');
    assert.match(address, /10\.96\./);
  });

  await t.test('what is created after the kills works', async () => {
    const [client] = (await pods(cluster)).filter(({ metadata }) => metadata.labels['app'] === 'client');
    await cluster.must('apply', '-f', join(root, 'test/manifests/late'));
    let last = '';
    for (let i = 0; i < 100; i++) {
      const got = await cluster.heddle(
        'exec',
        client?.metadata.name ?? '',
        '--',
        'curl',
        '-sS',
        '--max-time',
        '2',
        'http://late/',
      );
      if (got.code === 0) return;
      last = got.stderr;
      await sleep(200);
    }
    assert.fail(`the new service does not answer: ${last}`);
  });
});
