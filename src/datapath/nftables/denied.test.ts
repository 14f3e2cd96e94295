import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { SETTINGS_KEY } from '../plan/tables.ts';
import { createCluster } from '../testing/cluster.ts';
import { GATEWAYS, OUTSIDE } from '../testing/lab.ts';
import { openNftables } from '../testing/nftables.ts';
import { dialTcp, serveTcp } from '../testing/traffic.ts';

const PORT = 7000;

test('denied ranges are met with silence, nodes, the API server and pods are heard, and all are again', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await createCluster(t, openNftables, [['a'], ['b']]);
  const [node, other] = cluster.lab.nodes;
  const [backend] = cluster.backends;
  assert.ok(node && other && backend);
  serveTcp(t, node.ns, PORT, 'node');
  serveTcp(t, cluster.pod('a').ns, PORT, 'a');
  const deny = (denied: readonly string[] | undefined) =>
    backend.apply([
      { table: 'protection', key: SETTINGS_KEY, value: denied && { objects: ['test'], denied } },
    ]);
  const settings = { ...node.settings, controlAddresses: [...GATEWAYS] };
  await backend.apply([{ table: 'settings', key: SETTINGS_KEY, value: settings }]);
  await deny(['0.0.0.0/0', '::/0', '192.0.2.0/24']);
  assert.deepEqual(await backend.verify(), []);
  for (const family of [0, 1] as const) {
    const to: string = node.settings.nodeAddresses[family] ?? '';
    const from = (localAddress: string) => dialTcp(cluster.lab.outside, to, PORT, { localAddress });
    assert.deepEqual(await from(OUTSIDE[family]), { why: 'ETIMEDOUT' });
    assert.equal((await from(GATEWAYS[family])).server, 'node');
    assert.equal((await dialTcp(other.ns, to, PORT)).server, 'node');
    const pod = cluster.pod('a').addresses[family];
    assert.equal((await dialTcp(cluster.pod('b').ns, pod, PORT)).server, 'a');
    assert.equal((await dialTcp(node.ns, pod, PORT)).server, 'a');
  }
  await deny(undefined);
  for (const family of [0, 1] as const) {
    const to: string = node.settings.nodeAddresses[family] ?? '';
    const localAddress = OUTSIDE[family];
    assert.equal((await dialTcp(cluster.lab.outside, to, PORT, { localAddress })).server, 'node');
  }
});
