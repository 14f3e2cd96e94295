import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeInventory } from '../../src/cluster/snapshot.ts';
import { kubectl } from '../kubectl.ts';
import { root, upCluster } from './local-cluster.ts';
import { placeIn, startTraffic, targetsOf } from './traffic.ts';

interface Listed {
  items: { metadata: { name: string; uid: string }; spec: { nodeName: string } }[];
}

test('what is rolled, scaled, deleted or killed under traffic', { timeout: 300_000 }, async (t) => {
  const cluster = await upCluster(t, join(root, 'test/manifests/rolling'));
  const home = mkdtempSync(join(tmpdir(), 'heddle-kubectl-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const kube = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await kubectl(args, { kubeconfig: cluster.paths.kubeconfig, home });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const pods = async (app: string) =>
    (JSON.parse(await kube('get', 'pods', '-l', `app=${app}`, '-o', 'json')) as Listed).items;
  const [client] = await pods('client');
  assert.ok(client);
  const place = placeIn(cluster, client.spec.nodeName, client.metadata.uid);
  const service = JSON.parse(await kube('get', 'service', 'server', '-o', 'json')) as {
    spec: { clusterIPs: string[] };
  };
  const traffic = (context: typeof t) => startTraffic(context, place, targetsOf(service.spec.clusterIPs, 80));
  const rolledOut = () => kube('rollout', 'status', 'deploy/server', '--timeout=180s');

  const changes: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['a deployment is rolled', () => kube('set', 'env', 'deploy/server', 'VERSION=2')],
    [
      'all pods but one are deleted',
      async () =>
        kube('delete', 'pod', ...(await pods('server')).slice(1).map(({ metadata }) => metadata.name)),
    ],
    ['it is scaled down', () => kube('scale', 'deploy/server', '--replicas=1')],
    ['it is scaled up', () => kube('scale', 'deploy/server', '--replicas=4')],
  ];
  for (const [what, change] of changes)
    await t.test(`no request fails while ${what}`, async (t) => {
      const running = await traffic(t);
      await change();
      await rolledOut();
      // What ends does so a moment later.
      await sleep(1500);
      await running.asked(20);
      const { failures } = await running.stop();
      assert.deepEqual(failures, []);
    });

  await t.test(
    'a stand-in server that is killed comes back by itself, and then no request fails',
    async (t) => {
      const server = (await pods('server')).find(({ spec }) => spec.nodeName === 'node-2');
      assert.ok(server, 'a server is on node-2');
      const killed = standInServer('node-2', cluster.dataDir);
      process.kill(killed ?? assert.fail('no stand-in server of node-2 runs'), 'SIGKILL');
      for (let i = 0; ; i++) {
        const running = await traffic(t);
        await sleep(1000);
        await running.asked(20);
        const { failures } = await running.stop();
        const now = standInServer('node-2', cluster.dataDir);
        if (now !== killed && failures.length === 0) break;
        assert.ok(i < 60, `requests fail: ${JSON.stringify(failures.slice(-3))}`);
      }
    },
  );
});

function standInServer(node: string, dataDir: string): number | undefined {
  const line = takeInventory()['processes']?.find((text) =>
    ['/stand-in-server.ts', dataDir, node].every((part) => text.includes(part)),
  );
  return line === undefined ? undefined : Number(line.split(' ')[0]);
}
