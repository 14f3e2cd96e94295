import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { CLUSTER_NETWORK_POLICY, CONFIG_MAP, NODE, POD, SECRET } from '../api/kinds.ts';
import type { ConfigMap, Secret } from '../api/types.ts';
import { createEventRecorder } from '../client/events.ts';
import { type FakeClient, createFakeClient, eventually } from '../client/fake.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { createGarbageCollector } from './garbage.ts';
import { createClusterInformers } from './informers.ts';
import type { Controller, ControllerDeps } from './loop.ts';
import { createPodGarbageCollector } from './pod-gc.ts';
import { podOf, readyNode } from './testing.ts';

function start(t: TestContext, client: FakeClient, make: (deps: ControllerDeps) => Controller): void {
  const informers = createClusterInformers(client, silentLog);
  const controller = make({
    client,
    informers,
    recorder: (component) => createEventRecorder(client, { component, log: silentLog }),
    log: silentLog,
    metrics: createMetrics(),
    clock: systemClock,
  });
  const stop = new AbortController();
  const done = [informers.run(stop.signal), controller.run(stop.signal)];
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
}

const map = (name: string, metadata: Partial<ConfigMap['metadata']> = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'shop', ...metadata },
});

const owns = (owner: ConfigMap, blocks = true) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  name: owner.metadata.name,
  uid: owner.metadata.uid ?? '',
  blockOwnerDeletion: blocks,
});

const secret = (name: string, ...owners: ConfigMap[]): Secret => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'shop', ownerReferences: owners.map((owner) => owns(owner)) },
});

const names = (client: FakeClient) => client.all(SECRET).map((one) => one.metadata.name);

test('what loses its last owner goes; what has another loses the reference', async (t) => {
  const client = createFakeClient();
  const [a, b] = [await client.create(CONFIG_MAP, map('a')), await client.create(CONFIG_MAP, map('b'))];
  await client.create(SECRET, secret('of-a', a));
  await client.create(SECRET, secret('of-both', a, b));
  await client.create(SECRET, secret('of-nobody'));
  start(t, client, createGarbageCollector);
  await client.delete(CONFIG_MAP, 'a', 'shop');
  await eventually('gone', () => names(client).join() === 'of-both,of-nobody');
  const left = () => client.all(SECRET)[0]?.metadata.ownerReferences?.map((one) => one.name);
  await eventually('dropped', () => left()?.join() === 'b');
});

test('an owner of the same name but another uid is another owner', async (t) => {
  const client = createFakeClient();
  const a = await client.create(CONFIG_MAP, map('a'));
  await client.create(SECRET, secret('of-a', { ...a, metadata: { ...a.metadata, uid: 'before' } }));
  start(t, client, createGarbageCollector);
  await eventually('gone', () => names(client).length === 0);
});

test('an owner that the copies do not show yet is asked for, and its dependants stay', async (t) => {
  const client = createFakeClient();
  start(t, client, createGarbageCollector);
  await client.create(SECRET, secret('first'));
  client.hold = true;
  const a = await client.create(CONFIG_MAP, map('a'));
  await client.create(SECRET, secret('of-a', a));
  client.release();
  await client.create(
    SECRET,
    secret('of-ghost', { ...a, metadata: { ...a.metadata, name: 'ghost', uid: 'x' } }),
  );
  await eventually('the ghost is gone', () => !names(client).includes('of-ghost'));
  assert.deepEqual(names(client), ['first', 'of-a']);
});

test('owners of kinds that are not known are left to others', async (t) => {
  const client = createFakeClient();
  const foreign = { apiVersion: 'example.com/v1', kind: 'Thing', name: 'x', uid: 'x' };
  await client.create(SECRET, {
    ...secret('of-thing'),
    metadata: { name: 'of-thing', namespace: 'shop', ownerReferences: [foreign] },
  });
  const a = await client.create(CONFIG_MAP, map('a'));
  await client.create(SECRET, secret('of-a', a));
  start(t, client, createGarbageCollector);
  await client.delete(CONFIG_MAP, 'a', 'shop');
  await eventually('of-a is gone', () => names(client).join() === 'of-thing');
});

test('Foreground keeps the owner until its dependants are gone', async (t) => {
  const client = createFakeClient();
  const a = await client.create(CONFIG_MAP, map('a', { finalizers: ['foregroundDeletion'] }));
  const held = secret('held', a);
  held.metadata.finalizers = ['test/hold'];
  await client.create(SECRET, held);
  start(t, client, createGarbageCollector);
  await client.delete(CONFIG_MAP, 'a', 'shop');
  await eventually('asked to go', () => client.all(SECRET)[0]?.metadata.deletionTimestamp !== undefined);
  assert.equal(client.all(CONFIG_MAP).length, 1);
  await client.patch(SECRET, 'held', 'shop', { metadata: { finalizers: [] } });
  await eventually('both gone', () => client.all(SECRET).length + client.all(CONFIG_MAP).length === 0);
});

test('Orphan lets the dependants live without their owner', async (t) => {
  const client = createFakeClient();
  const a = await client.create(CONFIG_MAP, map('a', { finalizers: ['orphan'] }));
  await client.create(SECRET, secret('of-a', a));
  start(t, client, createGarbageCollector);
  await eventually('seen', () => true);
  await client.delete(CONFIG_MAP, 'a', 'shop');
  await eventually('owner gone', () => client.all(CONFIG_MAP).length === 0);
  assert.deepEqual(client.all(SECRET)[0]?.metadata.ownerReferences, []);
});

test('pods of a node that is gone are removed, those of a node that came back are not', async (t) => {
  const client = createFakeClient();
  const place = async (name: string, node: string) => {
    const { uid: _u, resourceVersion: _r, ...metadata } = podOf({ name }).metadata;
    await client.create(POD, { ...podOf({ node }), metadata });
  };
  for (const name of ['lost', 'back']) await client.create(NODE, readyNode(name));
  await place('a', 'lost');
  await place('b', 'back');
  start(t, client, (deps) => createPodGarbageCollector(deps, 50));
  await client.delete(NODE, 'lost');
  await client.delete(NODE, 'back');
  await client.create(NODE, readyNode('back'));
  await eventually('a is gone', () => client.all(POD).length === 1);
  assert.equal(client.all(POD)[0]?.metadata.name, 'b');
});

test('a cluster-wide policy goes with its owner, and when it waits for its dependants', async (t) => {
  const client = createFakeClient();
  const owner = await client.create(NODE, readyNode('owner'));
  const reference = { apiVersion: 'v1', kind: 'Node', name: 'owner', uid: owner.metadata.uid ?? '' };
  const policy = (name: string, metadata: object) =>
    client.create(CLUSTER_NETWORK_POLICY, {
      apiVersion: 'policy.networking.k8s.io/v1alpha2',
      kind: 'ClusterNetworkPolicy',
      metadata: { name, ...metadata },
      spec: { tier: 'Admin', priority: 1, subject: { namespaces: {} } },
    });
  await policy('owned', { ownerReferences: [reference] });
  await policy('waiting', { finalizers: ['foregroundDeletion'] });
  await policy('left', {});
  start(t, client, createGarbageCollector);
  await client.delete(NODE, 'owner');
  await client.delete(CLUSTER_NETWORK_POLICY, 'waiting');
  const left = () => client.all(CLUSTER_NETWORK_POLICY).map(({ metadata }) => metadata.name);
  await eventually('gone', () => left().join() === 'left');
});
