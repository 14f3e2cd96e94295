/** Deletion: at once, gracefully, after finalizers, and what comes with it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness();
});
after(() => api.close());

const pods = '/api/v1/namespaces/default/pods';
const configMaps = '/api/v1/namespaces/default/configmaps';

const pod = (name: string, more: object = {}) => ({
  metadata: { name },
  spec: { containers: [{ name: 'c', image: 'i' }], ...more },
});
const make = async (body: object, path = pods) => (await api.request('POST', path, { body })).json;

test('an unassigned pod goes at once, and the answer is a success with its uid', async () => {
  const { metadata } = await make(pod('free'));
  const { status, json } = await api.request('DELETE', `${pods}/free`);
  assert.equal(status, 200);
  assert.equal(json.status, 'Success');
  assert.deepEqual(json.details, { name: 'free', kind: 'pods', uid: metadata.uid });
});

test('a pod on a node is marked, stays for its grace period, and goes when the node says so', async () => {
  await make(pod('bound', { nodeName: 'node-1', terminationGracePeriodSeconds: 20 }));
  const marked = (await api.request('DELETE', `${pods}/bound`)).json;
  assert.equal(marked.metadata.deletionGracePeriodSeconds, 20);
  assert.ok(Date.parse(marked.metadata.deletionTimestamp) > Date.now());
  const again = (await api.request('DELETE', `${pods}/bound`)).json;
  assert.equal(again.metadata.resourceVersion, marked.metadata.resourceVersion);
  const sooner = (await api.request('DELETE', `${pods}/bound?gracePeriodSeconds=5`)).json;
  assert.equal(sooner.metadata.deletionGracePeriodSeconds, 5);
  assert.ok(sooner.metadata.deletionTimestamp < marked.metadata.deletionTimestamp);
  const later = (await api.request('DELETE', `${pods}/bound?gracePeriodSeconds=50`)).json;
  assert.equal(later.metadata.resourceVersion, sooner.metadata.resourceVersion);
  const gone = await api.request('DELETE', `${pods}/bound`, { body: { gracePeriodSeconds: 0 } });
  assert.equal(gone.json.status, 'Success');
  assert.equal((await api.request('GET', `${pods}/bound`)).status, 404);
});

test('finalizers hold an object until the last is removed', async () => {
  await make({ metadata: { name: 'held', finalizers: ['a.example/x', 'a.example/y'] } }, configMaps);
  const marked = (await api.request('DELETE', `${configMaps}/held`)).json;
  assert.ok(marked.metadata.deletionTimestamp);
  const patch = (finalizers: string[]) =>
    api.request('PATCH', `${configMaps}/held`, {
      type: 'application/merge-patch+json',
      body: { metadata: { finalizers } },
    });
  assert.equal((await patch(['a.example/x', 'a.example/z'])).status, 422);
  assert.equal((await patch(['a.example/x'])).status, 200);
  assert.equal((await api.request('GET', `${configMaps}/held`)).status, 200);
  assert.equal((await patch([])).status, 200);
  assert.equal((await api.request('GET', `${configMaps}/held`)).status, 404);
});

test('the way of propagation becomes a finalizer for the garbage collector', async () => {
  for (const [propagationPolicy, finalizer] of [
    ['Foreground', 'foregroundDeletion'],
    ['Orphan', 'orphan'],
  ]) {
    const name = `owner-${finalizer?.toLowerCase()}`;
    await make({ metadata: { name } }, configMaps);
    const { json } = await api.request('DELETE', `${configMaps}/${name}`, { body: { propagationPolicy } });
    assert.deepEqual(json.metadata.finalizers, [finalizer]);
  }
  await make({ metadata: { name: 'background' } }, configMaps);
  const gone = await api.request('DELETE', `${configMaps}/background?propagationPolicy=Background`);
  assert.equal(gone.json.status, 'Success');
  assert.equal((await api.request('DELETE', `${configMaps}/x?propagationPolicy=Sideways`)).status, 422);
});

test('preconditions that do not hold are conflicts', async () => {
  const { metadata } = await make({ metadata: { name: 'guarded' } }, configMaps);
  const remove = (preconditions: object) =>
    api.request('DELETE', `${configMaps}/guarded`, { body: { preconditions } });
  assert.equal((await remove({ uid: 'another' })).status, 409);
  assert.equal((await remove({ resourceVersion: '1' })).status, 409);
  assert.equal((await remove({ uid: metadata.uid, resourceVersion: metadata.resourceVersion })).status, 200);
});

test('a collection is deleted by selector', async () => {
  for (const name of ['c1', 'c2', 'c3'])
    await make({ metadata: { name, labels: { batch: name === 'c3' ? 'no' : 'yes' } } }, configMaps);
  const { json } = await api.request('DELETE', `${configMaps}?labelSelector=batch%3Dyes`);
  assert.equal(json.items.length, 2);
  const left = await api.request('GET', `${configMaps}?labelSelector=batch`);
  assert.deepEqual(
    left.json.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name),
    ['c3'],
  );
});

test('binding gives a pod to a node once; eviction deletes it', async () => {
  await make(pod('binding'));
  const bind = (name: string) =>
    api.request('POST', `${pods}/binding/binding`, {
      body: {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: 'binding' },
        target: { kind: 'Node', name },
      },
    });
  assert.equal((await bind('node-1')).status, 201);
  const { json } = await api.request('GET', `${pods}/binding`);
  assert.equal(json.spec.nodeName, 'node-1');
  assert.equal(json.status.conditions[0].type, 'PodScheduled');
  assert.equal((await bind('node-2')).status, 409);
  const evicted = await api.request('POST', `${pods}/binding/eviction`, {
    body: { metadata: { name: 'binding' }, deleteOptions: { gracePeriodSeconds: 0 } },
  });
  assert.equal(evicted.status, 201);
  assert.equal((await api.request('GET', `${pods}/binding`)).status, 404);
});
