import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  CONFIG_MAP,
  DEPLOYMENT,
  ENDPOINT_SLICE,
  EVENT,
  NAMESPACE,
  NODE,
  POD,
  REPLICA_SET,
  SERVICE,
  SERVICE_ACCOUNT,
} from '../api/kinds.ts';
import { type FakeClient, createFakeClient, eventually } from '../client/fake.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { clusterControllers } from './all.ts';
import { isReady } from './pods.ts';
import { addNodes, createFakeNodes, deploymentOf, namespaceOf, serviceOf } from './testing.ts';

function start(t: TestContext, client: FakeClient) {
  const metrics = createMetrics();
  const tasks = clusterControllers({
    client,
    metrics,
    log: silentLog,
    ca: 'PEM',
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
  });
  const nodes = createFakeNodes(client);
  const stop = new AbortController();
  const done = [...tasks, nodes].map((task) => task.run(stop.signal));
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
  return { nodes, metrics };
}

async function shop(client: FakeClient): Promise<void> {
  await addNodes(client, ['node-1', 'node-2']);
  const namespace = await client.create(NAMESPACE, namespaceOf('shop'));
  await client.updateStatus(NAMESPACE, { ...namespace, status: { phase: 'Active' } });
}

const unowned = <T extends { metadata: { uid?: string; generation?: number } }>(object: T): T => {
  const { uid: _u, generation: _g, ...metadata } = object.metadata;
  return { ...object, metadata };
};

const readyPods = (client: FakeClient) => client.all(POD).filter(isReady);
const readyEndpoints = (client: FakeClient) =>
  client
    .all(ENDPOINT_SLICE)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter((endpoint) => endpoint.conditions?.ready);

test('a deployment and a service become pods on nodes, endpoints, and a finished rollout', async (t) => {
  const client = createFakeClient();
  const { metrics } = start(t, client);
  await shop(client);
  await client.create(SERVICE, unowned(serviceOf()));
  await client.create(DEPLOYMENT, unowned(deploymentOf(4)));
  await eventually('4 endpoints', () => readyEndpoints(client).length === 4);
  const perNode = Map.groupBy(client.all(POD), (pod) => pod.spec?.nodeName);
  assert.deepEqual(
    [...perNode.values()].map((pods) => pods.length),
    [2, 2],
  );
  await eventually('complete', () => client.all(DEPLOYMENT)[0]?.status?.availableReplicas === 4);
  assert.equal(client.all(NODE)[1]?.spec?.podCIDRs?.length, 2);
  assert.ok(client.all(SERVICE_ACCOUNT).some((one) => one.metadata.name === 'default'));
  assert.equal(client.all(CONFIG_MAP)[0]?.data?.['ca.crt'], 'PEM');
  assert.match(metrics.text(), /workqueue_adds_total\{name="endpointslice"\}/);

  const [deployment] = client.all(DEPLOYMENT);
  const template = {
    ...deployment!.spec!.template,
    spec: { containers: [{ name: 'app', image: 'app:2' }] },
  };
  await client.update(DEPLOYMENT, { ...deployment!, spec: { ...deployment!.spec!, template } });
  await eventually('rolled out', () => {
    const { status, metadata } = client.all(DEPLOYMENT)[0]!;
    const progressing = status?.conditions?.find((one) => one.type === 'Progressing');
    return (
      status?.observedGeneration === metadata.generation &&
      status?.updatedReplicas === 4 &&
      status.replicas === 4 &&
      progressing?.reason === 'NewReplicaSetAvailable'
    );
  });
  assert.equal(client.all(DEPLOYMENT)[0]?.metadata.annotations?.['deployment.kubernetes.io/revision'], '2');
  await eventually('old pods are gone', () => client.all(POD).length === 4);
  assert.ok(client.all(POD).every((pod) => pod.spec?.containers[0]?.image === 'app:2'));
});

test('a stale copy makes no doubles', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await shop(client);
  await client.create(DEPLOYMENT, unowned(deploymentOf(3)));
  await eventually('3 ready', () => readyPods(client).length === 3);
  client.writes.length = 0;
  // Watches stand still right after each write; what is decided meanwhile is decided from own writes.
  client.onWrite = () => {
    if (client.hold) return;
    client.hold = true;
    setTimeout(() => client.release(), 15);
  };
  const [deployment] = client.all(DEPLOYMENT);
  await client.update(DEPLOYMENT, { ...deployment!, spec: { ...deployment!.spec!, replicas: 8 } });
  await eventually('8 ready', () => readyPods(client).length === 8);
  await eventually('status', () => client.all(DEPLOYMENT)[0]?.status?.availableReplicas === 8);
  const made = client.writes.filter((write) => write.verb === 'create' && write.kind === 'Pod');
  assert.equal(made.length, 5);
  assert.equal(client.writes.filter((write) => write.verb === 'delete').length, 0);
});

test('conflicts and refusals are overcome', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await shop(client);
  await client.create(DEPLOYMENT, unowned(deploymentOf(5)));
  let n = 0;
  client.onWrite = (write) => {
    // The nodes of this test do not try again.
    const ours = write.kind !== 'Event' && write.subresource !== 'status';
    if (ours && ++n % 3 === 0) throw new Error('the connection was lost');
  };
  await eventually('5 ready', () => readyPods(client).length === 5 && client.all(POD).length === 5, 10_000);
  await eventually('status', () => client.all(DEPLOYMENT)[0]?.status?.availableReplicas === 5, 10_000);
});

test('what is deleted takes along what it made', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await shop(client);
  await client.create(SERVICE, unowned(serviceOf()));
  await client.create(DEPLOYMENT, unowned(deploymentOf(3)));
  await eventually('3 endpoints', () => readyEndpoints(client).length === 3);
  await client.delete(DEPLOYMENT, 'web', 'shop');
  await eventually('nothing is left', () => client.all(REPLICA_SET).length + client.all(POD).length === 0);
  await client.delete(SERVICE, 'web', 'shop');
  await eventually('no slices', () => client.all(ENDPOINT_SLICE).length === 0);
});

test('a namespace that is deleted goes with everything in it', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await shop(client);
  await client.create(SERVICE, unowned(serviceOf()));
  await client.create(DEPLOYMENT, unowned(deploymentOf(3)));
  await eventually('3 endpoints', () => readyEndpoints(client).length === 3);
  await client.delete(NAMESPACE, 'shop');
  await eventually('gone', () => client.all(NAMESPACE).length === 0);
  const left = [
    POD,
    REPLICA_SET,
    DEPLOYMENT,
    SERVICE,
    ENDPOINT_SLICE,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    EVENT,
  ] as const;
  for (const kind of left) {
    const inside = client.all(kind as typeof POD).filter((one) => one.metadata.namespace === 'shop');
    assert.equal(inside.length, 0, kind.kind);
  }
});

test('a pod that fits nowhere is told so, and placed when a node comes', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await client.create(NAMESPACE, namespaceOf('shop'));
  await client.create(DEPLOYMENT, unowned(deploymentOf(1)));
  await eventually('told', () =>
    client
      .all(POD)
      .some((pod) =>
        pod.status?.conditions?.some((one) => one.type === 'PodScheduled' && one.status === 'False'),
      ),
  );
  await eventually('event', () => client.all(EVENT).some((one) => one.reason === 'FailedScheduling'));
  await addNodes(client, ['node-1']);
  await eventually('ready', () => readyPods(client).length === 1);
});

test('the default account and the authority come back when they are taken away or changed', async (t) => {
  const client = createFakeClient();
  start(t, client);
  await shop(client);
  await eventually(
    'made',
    () => client.all(CONFIG_MAP).length === 1 && client.all(SERVICE_ACCOUNT).length === 1,
  );
  await client.delete(SERVICE_ACCOUNT, 'default', 'shop');
  const [map] = client.all(CONFIG_MAP);
  await client.update(CONFIG_MAP, { ...map!, data: { 'ca.crt': 'forged' } });
  await eventually('mended', () => client.all(CONFIG_MAP)[0]?.data?.['ca.crt'] === 'PEM');
  await eventually('account', () => client.all(SERVICE_ACCOUNT).length === 1);
});
