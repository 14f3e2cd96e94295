import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { otherDatapath } from './deep-only.ts';
import { execute, type LocalCluster, root, type Status, upCluster } from './local-cluster.ts';
import { placeIn, startTraffic, type Traffic, targetsOf } from './traffic.ts';

interface Pod {
  metadata: { name: string; uid: string; labels?: Record<string, string> };
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

interface Conditioned {
  status?: { conditions?: Condition[] };
}

const manifests = join(root, 'test/manifests/echo');

async function pods({ must }: LocalCluster): Promise<Pod[]> {
  return (JSON.parse(await must('get', 'pods', '-o', 'json')) as { items: Pod[] }).items;
}

/** Traffic from a pod on node-1 to a pod on each node and to the service, over both families. */
async function trafficInCluster(t: TestContext, cluster: LocalCluster): Promise<Traffic> {
  const all = await pods(cluster);
  const client = all.find(
    ({ metadata, spec }) => metadata.labels?.['app'] === 'client' && spec.nodeName === 'node-1',
  );
  const servers = all.filter(({ metadata }) => metadata.labels?.['app'] === 'server');
  assert.ok(client && servers.length === 2);
  const service = JSON.parse(await cluster.must('get', 'service', 'server', '-o', 'json')) as {
    spec: { clusterIPs: string[] };
  };
  const addresses = servers.flatMap(({ status }) => status.podIPs.map(({ ip }) => ip));
  return startTraffic(t, placeIn(cluster, 'node-1', client.metadata.uid), [
    ...targetsOf(addresses, 8080),
    ...targetsOf(service.spec.clusterIPs, 80),
  ]);
}

async function processOf(
  cluster: LocalCluster,
  name: string,
): Promise<Status['processes'][number] | undefined> {
  return (await cluster.status()).processes.find((process) => process.name === name);
}

/** Asks for a minute at least. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await holds()) return;
    await sleep(100);
  }
  assert.fail(what);
}

/** Kills a process and waits until another one of its name runs. */
async function killAndWait(cluster: LocalCluster, name: string): Promise<void> {
  const before = await processOf(cluster, name);
  assert.ok(before, `no process is called ${name}: ${JSON.stringify((await cluster.status()).processes)}`);
  process.kill(before.pid, 'SIGKILL');
  await until(`${name} did not come back`, async () => {
    const now = await processOf(cluster, name);
    return now !== undefined && now.pid !== before.pid && now.state === 'running';
  });
  assert.equal((await processOf(cluster, name))?.restarts, before.restarts + 1);
}

/** What is attached in node-1: each link of a program, and the program behind it, by the kernel's numbers. */
async function attached({ paths }: LocalCluster): Promise<string> {
  const links = join(paths.node('node-1').bpf, 'links');
  const shown = await Promise.all(
    readdirSync(links)
      .toSorted()
      .map((name) => execute('bpftool', ['-j', 'link', 'show', 'pinned', join(links, name)])),
  );
  assert.ok(shown.length > 10, `${shown.length} links`);
  return shown.map(({ stdout }) => stdout.trim()).join('\n');
}

/** The table of node-1 with the handles of what is in it. */
async function ruleset({ paths }: LocalCluster): Promise<string> {
  const nft = [`--net=${paths.netns('node-1')}`, 'nft', '-a', 'list', 'table', 'inet', 'heddle'];
  const { stdout } = await execute('nsenter', nft);
  assert.match(stdout, /table inet heddle/);
  return stdout.replace(/packets \d+ bytes \d+/g, '');
}

/** @param inKernel what must be the very same before and after */
async function killUnderTraffic(
  t: TestContext,
  { cluster, name, inKernel }: { cluster: LocalCluster; name: string; inKernel: typeof ruleset },
): Promise<void> {
  const before = await inKernel(cluster);
  const traffic = await trafficInCluster(t, cluster);
  await traffic.asked(50);
  await killAndWait(cluster, name);
  // Whatever came back is at work, all of it.
  await until('agents do not answer', async () => (await cluster.heddle('datapath', 'verify')).code === 0);
  await until('the API server does not', async () => (await cluster.heddle('get', 'nodes')).code === 0);
  await traffic.asked(100);
  const report = await traffic.stop();
  assert.deepEqual(report.failures, []);
  assert.equal(report.counts.reconnects, 0, 'a kept connection had to be made again');
  assert.equal(await inKernel(cluster), before, 'a restart changes nothing in the kernel');
}

test('no connection notices that the agent of nftables was killed', {
  timeout: 300_000,
  skip: otherDatapath('nftables'),
}, async (t) => {
  const cluster = await upCluster(t, manifests, '--datapath', 'nftables');
  await killUnderTraffic(t, { cluster, name: 'agent-node-1', inKernel: ruleset });
});

test('no connection notices that a process of the cluster was killed', { timeout: 300_000 }, async (t) => {
  const cluster = await upCluster(t, manifests, '--datapath', 'ebpf');
  for (const name of ['api-server', 'controllers', 'agent-node-1', 'stand-in-node-1', 'agent-node-2'])
    await t.test(`kill -9 ${name}`, (t) => killUnderTraffic(t, { cluster, name, inKernel: attached }));

  await t.test('names resolve again after the agent was killed', async () => {
    const client = (await pods(cluster)).find(
      ({ metadata, spec }) => metadata.labels?.['app'] === 'client' && spec.nodeName === 'node-1',
    );
    assert.ok(client);
    await killAndWait(cluster, 'agent-node-1');
    const resolve = ['exec', client.metadata.name, '--', 'getent', 'ahosts', 'server'];
    await until('names do not resolve', async () => {
      const { code, stdout } = await cluster.heddle(...resolve);
      return code === 0 && /10\.96\./.test(stdout);
    });
  });

  await t.test(
    'while networks cannot be made, pods run on; the node says why, and what waits is made later',
    async (t) => {
      const { cniSocket } = cluster.paths.node('node-1');
      await until('the agent does not listen', () => Promise.resolve(existsSync(cniSocket)));
      renameSync(cniSocket, `${cniSocket}.away`);
      t.after(() => existsSync(`${cniSocket}.away`) && renameSync(`${cniSocket}.away`, cniSocket));
      const folder = mkdtempSync(join(tmpdir(), 'heddle-pinned-'));
      t.after(() => rmSync(folder, { recursive: true }));
      const pinned = {
        nodeName: 'node-1',
        containers: [{ name: 'main', image: 'x', ports: [{ containerPort: 80 }] }],
      };
      const object = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pinned' }, spec: pinned };
      writeFileSync(join(folder, 'pinned.yaml'), JSON.stringify(object));
      await cluster.must('apply', '-f', folder);
      const ready = async (kind: 'pod' | 'node', name: string): Promise<Condition | undefined> => {
        const found = JSON.parse(await cluster.must('get', kind, name, '-o', 'json')) as Conditioned;
        return found.status?.conditions?.find(({ type }) => type === 'Ready');
      };
      await until('the node did not say that it is not ready', async () => {
        const { status, reason, message = '' } = (await ready('node', 'node-1')) ?? {};
        return status === 'False' && reason === 'KubeletNotReady' && /network not ready/.test(message);
      });
      const client = (await pods(cluster)).find(
        ({ metadata, spec }) => metadata.labels?.['app'] === 'client' && spec.nodeName === 'node-1',
      );
      const url = ['curl', '-sS', '--max-time', '20', 'http://server/'];
      await cluster.must('exec', client?.metadata.name ?? '', '--', ...url);
      assert.equal((await ready('pod', client?.metadata.name ?? ''))?.status, 'True');
      assert.notEqual((await ready('pod', 'pinned'))?.status, 'True');
      renameSync(`${cniSocket}.away`, cniSocket);
      await until(
        'the node is not ready again',
        async () => (await ready('node', 'node-1'))?.status === 'True',
      );
      await until('what waited was not made', async () => (await ready('pod', 'pinned'))?.status === 'True');
    },
  );

  await t.test('what is created after the kills works', async () => {
    const [client] = (await pods(cluster)).filter(({ metadata }) => metadata.labels?.['app'] === 'client');
    await cluster.must('apply', '-f', join(root, 'test/manifests/late'));
    let last = '';
    for (let i = 0; i < 300; i++) {
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
