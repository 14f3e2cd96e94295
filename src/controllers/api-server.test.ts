/** The controllers against the real API server, over TLS, with kubectl as the user. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { kubectl } from '../../test/kubectl.ts';
import { type Harness, startHarness } from '../apiserver/testing/harness.ts';
import {
  ADMIN_NETWORK_POLICY,
  CONFIG_MAP,
  DEPLOYMENT,
  ENDPOINT_SLICE,
  NAMESPACE,
  NODE,
  POD,
  REPLICA_SET,
  SERVICE,
  SERVICE_ACCOUNT,
} from '../api/kinds.ts';
import type { Deployment, EndpointSlice, Service } from '../api/types.ts';
import { isNotFound } from '../client/api-error.ts';
import { createClient } from '../client/client.ts';
import { loadKubeconfig } from '../client/kubeconfig.ts';
import type { Client } from '../client/types.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { clusterControllers } from './all.ts';
import { addNodes, createFakeNodes } from './testing.ts';

async function start(t: TestContext) {
  const harness = await startHarness();
  const { client: options } = await loadKubeconfig(harness.kubeconfig);
  const client = createClient({ ...options, qps: 5000, maxConnections: 32 });
  const tasks = clusterControllers({
    client,
    ca: harness.authority.ca,
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
    log: silentLog,
    metrics: createMetrics(),
  });
  const nodes = createFakeNodes(client);
  const stop = new AbortController();
  const done = [...tasks, nodes].map((task) => task.run(stop.signal));
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
    client.close();
    await harness.close();
  });
  await addNodes(client, ['node-1', 'node-2', 'node-3', 'node-4', 'node-5']);
  await client.create(NAMESPACE, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  return { harness, client, nodes };
}

async function until(what: string, ready: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await ready())) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const deployment = (name: string, replicas: number, image = 'app:1'): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'shop' },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'app', image, ports: [{ name: 'web', containerPort: 8080 }] }] },
    },
  },
});

const service = (name: string): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop' },
  spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 'web' }] },
});

async function endpoints(client: Client, ready?: boolean) {
  const { items } = await client.list(ENDPOINT_SLICE, { namespace: 'shop' });
  const all = items.flatMap((slice) => slice.endpoints ?? []);
  return ready === undefined ? all : all.filter((one) => one.conditions?.ready === ready);
}

const ok = async (harness: Harness, ...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await kubectl(args, {
    kubeconfig: harness.kubeconfig,
    home: harness.dir,
  });
  assert.equal(code, 0, stderr);
  return stdout;
};

test('a rollout is seen by kubectl, can be undone, and everything goes with its namespace', async (t) => {
  const { harness, client } = await start(t);
  await client.create(SERVICE, service('web'));
  await client.create(DEPLOYMENT, deployment('web', 4));
  assert.match(
    await ok(harness, 'rollout', 'status', 'deployment/web', '-n', 'shop', '--timeout=30s'),
    /successfully/,
  );
  await until('endpoints', async () => (await endpoints(client, true)).length === 8);
  const names = (await client.list(POD, { namespace: 'shop' })).items.map((pod) => pod.spec?.nodeName);
  assert.equal(new Set(names).size, 4);

  await ok(harness, 'set', 'image', 'deployment/web', 'app=app:2', '-n', 'shop');
  await ok(harness, 'rollout', 'status', 'deployment/web', '-n', 'shop', '--timeout=30s');
  await ok(harness, 'rollout', 'undo', 'deployment/web', '-n', 'shop');
  await ok(harness, 'rollout', 'status', 'deployment/web', '-n', 'shop', '--timeout=30s');
  assert.match(await ok(harness, 'rollout', 'history', 'deployment/web', '-n', 'shop'), /^2 .*\n3 /m);
  const { items } = await client.list(REPLICA_SET, { namespace: 'shop' });
  assert.deepEqual(
    items.map((set) => set.spec?.replicas ?? 0).sort((a, b) => a - b),
    [0, 4],
  );
  await ok(harness, 'scale', 'deployment/web', '--replicas=6', '-n', 'shop');
  await ok(harness, 'wait', '--for=condition=Available', 'deployment/web', '-n', 'shop', '--timeout=30s');
  await until('scaled', async () => (await endpoints(client, true)).length === 12);

  await client.get(SERVICE_ACCOUNT, 'default', 'shop');
  assert.equal(
    (await client.get(CONFIG_MAP, 'kube-root-ca.crt', 'shop')).data?.['ca.crt'],
    harness.authority.ca,
  );
  assert.equal((await client.get(NODE, 'node-3')).spec?.podCIDRs?.length, 2);

  await ok(harness, 'delete', 'namespace', 'shop', '--timeout=30s');
  await assert.rejects(client.get(NAMESPACE, 'shop'), isNotFound);
  assert.deepEqual(await endpoints(client), []);
  assert.equal((await client.list(POD, { namespace: 'shop' })).items.length, 0);
});

test('a pod that is deleted is replaced, and a deployment that is deleted takes all along', async (t) => {
  const { client } = await start(t);
  await client.create(DEPLOYMENT, deployment('web', 2));
  const ready = async () => {
    const { status } = await client.get(DEPLOYMENT, 'web', 'shop');
    return status?.availableReplicas === 2 && status.replicas === 2;
  };
  await until('ready', ready);
  const [victim] = (await client.list(POD, { namespace: 'shop' })).items;
  await client.delete(POD, victim!.metadata.name, 'shop');
  await until('replaced', async () => {
    const { items } = await client.list(POD, { namespace: 'shop' });
    return items.length === 2 && items.every((pod) => pod.metadata.uid !== victim!.metadata.uid);
  });
  await until('ready again', ready);
  await client.delete(DEPLOYMENT, 'web', 'shop', { propagationPolicy: 'Background' });
  await until('gone', async () => {
    const lists = await Promise.all([
      client.list(POD, { namespace: 'shop' }),
      client.list(REPLICA_SET, { namespace: 'shop' }),
    ]);
    return lists.every((list) => list.items.length === 0);
  });
});

test('1,000 pods are scheduled and served; one change writes one slice a family, under 8 kB in all', async (t) => {
  const { harness, client } = await start(t);
  await client.create(SERVICE, service('web'));
  const began = performance.now();
  await client.create(DEPLOYMENT, deployment('web', 1000));
  await until('2,000 endpoints', async () => (await endpoints(client, true)).length === 2000, 120_000);
  t.diagnostic(`1,000 pods after ${Math.round(performance.now() - began)} ms`);
  await until('quiet', async () => {
    const { status } = await client.get(DEPLOYMENT, 'web', 'shop');
    return status?.availableReplicas === 1000;
  });
  const now = (await client.list(ENDPOINT_SLICE, { namespace: 'shop' })).resourceVersion;
  const watch = harness.watch(
    `/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&resourceVersion=${now}`,
  );
  t.after(() => watch.stop());
  const { items: pods } = await client.list(POD, { namespace: 'shop' });
  const victim = pods[500]!;
  const conditions = [{ type: 'Ready', status: 'False', lastTransitionTime: '2026-01-01T00:00:00Z' }];
  await client.patch(
    POD,
    victim.metadata.name,
    'shop',
    { metadata: { labels: { app: 'nothing' } }, status: { conditions } },
    { type: 'strategic' },
  );
  const events = (await watch.until(2)) as { object: EndpointSlice }[];
  // The pod that left is replaced by another: each of the two changes is one slice of each family.
  const bytes = events.map((event) => JSON.stringify(event).length + 1);
  t.diagnostic(`events of ${bytes.join(', ')} bytes`);
  assert.deepEqual(
    events
      .slice(0, 2)
      .map(({ object }) => object.addressType)
      .sort((a, b) => (a < b ? -1 : 1)),
    ['IPv4', 'IPv6'],
  );
  assert.ok(bytes[0]! + bytes[1]! < 8000, `events of ${bytes.join(' and ')} bytes`);
});

test('whoever writes a cluster-wide policy can wait for its condition', async (t) => {
  const { harness, client } = await start(t);
  await client.create(ADMIN_NETWORK_POLICY, {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'guard', labels: { 'heddle.dev/stage': 'audit' } },
    spec: {
      priority: 1,
      subject: { namespaces: {} },
      ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
    },
  });
  await ok(harness, 'wait', '--for=condition=Accepted', 'anp/guard', '--timeout=30s');
  const reason = 'jsonpath={.status.conditions[0].reason} {.status.conditions[0].observedGeneration}';
  assert.equal(await ok(harness, 'get', 'anp/guard', '-o', reason), 'Audited 1');
});
