import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { CiliumBgpClusterConfig } from '../api/cilium-bgp-types.ts';
import {
  CILIUM_BGP_CLUSTER_CONFIG,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_NODE_CONFIG_OVERRIDE,
  CILIUM_BGP_PEER_CONFIG,
  NAMESPACE,
  NODE,
  SECRET,
} from '../api/kinds.ts';
import { createFakeClient, eventually as settles, type FakeClient } from '../client/fake.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { createBgpController } from './bgp.ts';
import { createGarbageCollector } from './garbage.ts';
import { createClusterInformers } from './informers.ts';
import { namespaceOf, readyNode } from './testing.ts';

const isMet = (check: () => void): boolean => {
  try {
    check();
    return true;
  } catch {
    return false;
  }
};

/** The last failure is the test's. */
async function eventually(check: () => void): Promise<void> {
  await settles('what is checked', () => isMet(check)).catch(() => check());
}

const configOf = (name: string, zone?: string): CiliumBgpClusterConfig => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPClusterConfig',
  metadata: { name },
  spec: {
    ...(zone === undefined ? {} : { nodeSelector: { matchLabels: { zone } } }),
    bgpInstances: [
      {
        name: 'main',
        localASN: 65001,
        peers: [{ name: 'tor', peerAddress: '10.0.0.1', peerASN: 64512, peerConfigRef: { name: 'usual' } }],
      },
    ],
  },
});

async function running(t: TestContext): Promise<FakeClient> {
  const client = createFakeClient();
  await client.create(NAMESPACE, namespaceOf('kube-system'));
  for (const [name, zone] of [
    ['node-1', 'a'],
    ['node-2', 'b'],
  ] as const)
    await client.create(NODE, readyNode(name, {}, { zone }));
  const stop = new AbortController();
  const informers = createClusterInformers(client, silentLog);
  const deps = {
    client,
    informers,
    log: silentLog,
    metrics: createMetrics(),
    clock: systemClock,
    recorder: () => ({ event: () => {} }) as never,
  };
  const tasks = [
    informers.run(stop.signal),
    createBgpController(deps).run(stop.signal),
    createGarbageCollector(deps).run(stop.signal),
  ];
  t.after(async () => {
    stop.abort();
    await Promise.all(tasks);
  });
  return client;
}

const nodesOf = (client: FakeClient) =>
  client.all(CILIUM_BGP_NODE_CONFIG).map(({ metadata }) => metadata.name);

/** Types of the conditions that hold. */
const holding = (client: FakeClient, name: string) =>
  (
    client.all(CILIUM_BGP_CLUSTER_CONFIG).find(({ metadata }) => metadata.name === name)?.status
      ?.conditions ?? []
  )
    .filter(({ status }) => status === 'True')
    .map(({ type }) => type.replace('cilium.io/', ''));

test('every node that is selected gets what it speaks, and loses it with its label or the configuration', async (t) => {
  const client = await running(t);
  await client.create(CILIUM_BGP_CLUSTER_CONFIG, configOf('all', 'a'));
  await eventually(() => assert.deepEqual(nodesOf(client), ['node-1']));
  assert.deepEqual(client.all(CILIUM_BGP_NODE_CONFIG)[0]?.spec, configOf('x').spec);
  await client.patch(NODE, 'node-2', undefined, { metadata: { labels: { zone: 'a' } } });
  await eventually(() => assert.deepEqual(nodesOf(client), ['node-1', 'node-2']));
  await client.patch(NODE, 'node-1', undefined, { metadata: { labels: { zone: 'c' } } });
  await eventually(() => assert.deepEqual(nodesOf(client), ['node-2']));
  await client.patch(CILIUM_BGP_CLUSTER_CONFIG, 'all', undefined, {
    spec: { bgpInstances: [{ name: 'main', localASN: 65009 }] },
  });
  await eventually(() =>
    assert.equal(client.all(CILIUM_BGP_NODE_CONFIG)[0]?.spec.bgpInstances[0]?.localASN, 65009),
  );
  await client.delete(CILIUM_BGP_CLUSTER_CONFIG, 'all');
  await eventually(() => assert.deepEqual(nodesOf(client), []));
});

test('what a node does otherwise is in what it speaks', async (t) => {
  const client = await running(t);
  await client.create(CILIUM_BGP_CLUSTER_CONFIG, configOf('all'));
  await client.create(CILIUM_BGP_NODE_CONFIG_OVERRIDE, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumBGPNodeConfigOverride',
    metadata: { name: 'node-2' },
    spec: {
      bgpInstances: [
        {
          name: 'main',
          routerID: '1.2.3.4',
          localPort: 1179,
          localASN: 65002,
          peers: [{ name: 'tor', localAddress: '10.0.0.9' }],
        },
      ],
    },
  });
  await eventually(() => {
    const [first, second] = client.all(CILIUM_BGP_NODE_CONFIG).map(({ spec }) => spec.bgpInstances[0]);
    assert.deepEqual(
      [first?.localASN, first?.routerID, first?.localPort, first?.peers?.[0]?.localAddress],
      [65001, undefined, undefined, undefined],
    );
    assert.deepEqual(
      [second?.localASN, second?.routerID, second?.localPort, second?.peers?.[0]?.localAddress],
      [65002, '1.2.3.4', 1179, '10.0.0.9'],
    );
  });
});

test('conditions name what is wrong: no node, no peer configuration, two that want one node', async (t) => {
  const client = await running(t);
  await client.create(CILIUM_BGP_CLUSTER_CONFIG, configOf('none', 'nowhere'));
  await eventually(() => assert.deepEqual(holding(client, 'none'), ['MissingPeerConfigs', 'NoMatchingNode']));
  await client.create(CILIUM_BGP_PEER_CONFIG, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumBGPPeerConfig',
    metadata: { name: 'usual' },
    spec: { authSecretRef: 'key' },
  });
  await eventually(() => assert.deepEqual(holding(client, 'none'), ['NoMatchingNode']));
  await client.create(CILIUM_BGP_CLUSTER_CONFIG, configOf('first'));
  await eventually(() => assert.deepEqual(nodesOf(client), ['node-1', 'node-2']));
  await client.create(CILIUM_BGP_CLUSTER_CONFIG, configOf('second', 'a'));
  await eventually(() => assert.deepEqual(holding(client, 'second'), ['ConflictingClusterConfig']));
  await client.delete(CILIUM_BGP_CLUSTER_CONFIG, 'first');
  await eventually(() => {
    assert.deepEqual(holding(client, 'second'), []);
    assert.deepEqual(nodesOf(client), ['node-1']);
  });
});

test('a peer configuration says that its Secret is missing, until it is there', async (t) => {
  const client = await running(t);
  await client.create(CILIUM_BGP_PEER_CONFIG, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumBGPPeerConfig',
    metadata: { name: 'usual' },
    spec: { authSecretRef: 'key' },
  });
  const condition = () => client.all(CILIUM_BGP_PEER_CONFIG)[0]?.status?.conditions?.[0];
  await eventually(() => assert.equal(condition()?.status, 'True'));
  assert.match(condition()?.message ?? '', /"key" is missing in kube-system/);
  await client.create(SECRET, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'key', namespace: 'kube-system' },
  });
  await eventually(() => assert.equal(condition()?.status, 'False'));
});
