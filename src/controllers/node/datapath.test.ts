import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import {
  ADMIN_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_NETWORK_POLICY,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  TIER,
  ENDPOINT_SLICE,
  NAMESPACE,
  NETWORK_POLICY,
  NODE,
  POD,
  SERVICE,
  UPLINK_PROTECTION,
} from '../../api/kinds.ts';
import type { NetworkPolicy, Node, Pod, Service } from '../../api/types.ts';
import { createFakeClient, eventually } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import { createFakeBackend } from '../../datapath/fake.ts';
import { createPlan } from '../../datapath/plan/plan.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { createCompiler } from '../../policy/compile.ts';
import { worldNamespace, worldPod } from '../../policy/from-objects.ts';
import { type AttachedPod, createDatapathController } from './datapath.ts';

const NODE_NAME = 'node-1';

const pod = (name: string, address?: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: 'shop', name, labels: { app: name } },
  spec: { nodeName: NODE_NAME, containers: [{ name: 'c', image: 'i' }] },
  status: address === undefined ? {} : { podIPs: [{ ip: address }] },
});

const local = (name: string, address: string, uid: string): AttachedPod => ({
  uid,
  namespace: 'shop',
  name,
  interface: `hd${uid.slice(-8)}`,
  addresses: [address],
});

const denyAll: NetworkPolicy = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'shop', name: 'deny' },
  spec: { podSelector: {}, policyTypes: ['Ingress'] },
};

/** The uid that it got. */
const created = async (client: ReturnType<typeof createFakeClient>, object: Pod): Promise<string> =>
  (await client.create(POD, object)).metadata.uid ?? '';

function setUp(t: TestContext, compile = createCompiler()) {
  const client = createFakeClient();
  const backend = createFakeBackend();
  const stop = new AbortController();
  const options = { log: silentLog };
  const informers = {
    services: createInformer(client, SERVICE, options),
    slices: createInformer(client, ENDPOINT_SLICE, options),
    nodes: createInformer(client, NODE, options),
    policies: createInformer(client, NETWORK_POLICY, options),
    adminPolicies: createInformer(client, ADMIN_NETWORK_POLICY, options),
    ciliumPolicies: createInformer(client, CILIUM_NETWORK_POLICY, options),
    cidrGroups: createInformer(client, CILIUM_CIDR_GROUP, options),
    globalPolicies: createInformer(client, GLOBAL_NETWORK_POLICY, options),
    tiers: createInformer(client, TIER, options),
    globalNetworkSets: createInformer(client, GLOBAL_NETWORK_SET, options),
    protections: createInformer(client, UPLINK_PROTECTION, options),
    namespaces: createInformer(client, NAMESPACE, { ...options, keep: worldNamespace }),
    pods: createInformer(client, POD, { ...options, keep: worldPod }),
  };
  let pods: AttachedPod[] = [];
  const controller = createDatapathController({
    node: NODE_NAME,
    informers,
    plan: createPlan({ node: NODE_NAME }),
    backend,
    settings: {
      node: NODE_NAME,
      nodeAddresses: ['10.240.0.1'],
      nodePodCidrs: ['10.244.0.0/24'],
      podCidrs: ['10.244.0.0/16'],
      serviceCidrs: ['10.96.0.0/16'],
      underlayCidrs: ['10.240.0.0/24'],
      podLinks: 'hd',
      tunnelPort: 4789,
    },
    compile,
    localPods: () => pods,
    nodeLocal: [],
    clock: systemClock,
    log: silentLog,
  });
  const running = controller.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  return {
    client,
    backend,
    controller,
    informers,
    startInformers: (names = Object.keys(informers) as (keyof typeof informers)[]) => {
      for (const name of names) void informers[name].run(stop.signal);
    },
    setLocal(next: AttachedPod[]) {
      pods = next;
      controller.podsChanged();
    },
  };
}

/** Long enough for everything that was going to happen to have happened. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 50));

test('what protects the uplink comes and goes with its object, and a data path that cannot is said to', async (t) => {
  const { client, backend, controller, startInformers } = setUp(t);
  startInformers();
  await controller.ready();
  await client.create(UPLINK_PROTECTION, {
    apiVersion: 'heddle.dev/v1alpha1',
    kind: 'UplinkProtection',
    metadata: { name: 'edge' },
    spec: { denied: ['198.51.100.0/24'] },
  });
  await eventually('it is programmed', () => backend.kernel.protection.size === 1);
  assert.match(
    controller.status().problems.join(),
    /^UplinkProtection edge spec\.denied: the fake backend cannot/,
  );
  await client.delete(UPLINK_PROTECTION, 'edge');
  await eventually('it is gone', () => backend.kernel.protection.size === 0);
  assert.deepEqual(controller.status().problems, []);
});

test('a heartbeat of a node compiles nothing; a new address of its does', async (t) => {
  const compiled: string[][] = [];
  const compile = createCompiler();
  const { client, backend, controller, informers, startInformers } = setUp(t, (world, options) => {
    compiled.push(world.nodes.flatMap(({ addresses }) => addresses));
    return compile(world, options);
  });
  const node = (address: string, heartbeat: string): Node => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-2' },
    spec: { podCIDRs: ['10.244.1.0/24'] },
    status: {
      addresses: [{ type: 'InternalIP', address }],
      conditions: [{ type: 'Ready', status: 'True', lastHeartbeatTime: heartbeat }],
    },
  });
  await client.create(NODE, node('10.240.0.2', '2026-01-01T00:00:00Z'));
  startInformers();
  await controller.ready();
  await eventually('the node is known', () => compiled.at(-1)?.[0] === '10.240.0.2');
  const before = compiled.length;
  const change = async (next: Node): Promise<unknown> =>
    client.updateStatus(NODE, { ...(await client.get(NODE, 'node-2')), status: next.status });
  for (const second of [1, 2, 3]) {
    const time = `2026-01-01T00:00:0${second}Z`;
    await change(node('10.240.0.2', time));
    const heard = () => informers.nodes.get('node-2')?.status?.conditions?.[0]?.lastHeartbeatTime;
    await eventually('the heartbeat is heard of', () => heard() === time);
    await quiet();
  }
  await change(node('10.240.0.9', '2026-01-01T00:00:04Z'));
  await eventually(
    'its route follows',
    () => backend.kernel.routes.get('node-2')?.addresses[0] === '10.240.0.9',
  );
  assert.deepEqual(compiled.slice(before), [['10.240.0.9']]);
});

test('an AdminNetworkPolicy is in the kernel while it is there', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await eventually('the pod is there', () => backend.kernel.pods.size === 1);
  assert.deepEqual(backend.kernel.endpoints.get('10.244.0.2'), { ingress: 0, egress: 0 });
  const rules = () => [...backend.kernel.rules.values()].map(({ text, verdict }) => `${verdict}: ${text}`);
  await client.create(ADMIN_NETWORK_POLICY, {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'closed' },
    spec: {
      priority: 1,
      subject: { namespaces: {} },
      ingress: [{ name: 'all', action: 'Deny', from: [{ namespaces: {} }] }],
    },
  });
  await eventually('it is programmed', () => rules().length === 1);
  assert.deepEqual(rules(), ['deny: AdminNetworkPolicy closed spec.ingress[0] (all)']);
  assert.notEqual(backend.kernel.endpoints.get('10.244.0.2')?.ingress, 0);
  await client.delete(ADMIN_NETWORK_POLICY, 'closed');
  await eventually('it is gone', () => rules().length === 0);
  assert.deepEqual(backend.kernel.endpoints.get('10.244.0.2'), { ingress: 0, egress: 0 });
});

test('a policy of Calico’s follows its tier and the sets that it selects', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await eventually('the pod is there', () => backend.kernel.pods.size === 1);
  const rules = () => [...backend.kernel.rules.values()].map(({ text }) => text).sort();
  const apiVersion = 'projectcalico.org/v3';
  await client.create(GLOBAL_NETWORK_POLICY, {
    apiVersion,
    kind: 'GlobalNetworkPolicy',
    metadata: { name: 'p' },
    spec: {
      tier: 'security',
      types: ['Egress'],
      egress: [{ action: 'Deny', destination: { selector: 'has(bad)' } }],
    },
  });
  const tier = { apiVersion, kind: 'Tier', metadata: { name: 'security' }, spec: { order: 5 } } as const;
  await client.create(TIER, tier);
  await eventually('the tier is closed', () =>
    rules().includes('default deny egress: GlobalNetworkPolicy p'),
  );
  const open = await client.get(TIER, 'security');
  await client.update(TIER, { ...open, spec: { order: 5, defaultAction: 'Pass' } });
  await eventually('it is open', () => !rules().some((text) => text.startsWith('default deny')));
  await client.create(GLOBAL_NETWORK_SET, {
    apiVersion,
    kind: 'GlobalNetworkSet',
    metadata: { name: 's', labels: { bad: '' } },
    spec: { nets: ['192.0.2.0/24'] },
  });
  await eventually('the set is known', () => backend.kernel.identities.has('192.0.2.0/24'));
  await client.delete(TIER, 'security');
  await eventually('a policy of no tier says nothing', () => rules().length === 0);
});

test('a policy of Cilium’s is in the kernel while it is there', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await eventually('the pod is there', () => backend.kernel.pods.size === 1);
  const rules = () =>
    [...backend.kernel.rules.values()].map(({ text, verdict }) => `${verdict}: ${text}`).sort();
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: { endpointSelector: {}, ingress: [{}], ingressDeny: [{ fromEntities: ['world'] }] },
  });
  await eventually('it is programmed', () => rules().length === 3);
  assert.deepEqual(rules(), [
    'allow: CiliumNetworkPolicy shop/web spec.ingress[0]',
    'deny: CiliumNetworkPolicy shop/web spec.ingressDeny[0]',
    'deny: default deny ingress: CiliumNetworkPolicy shop/web',
  ]);
  await client.delete(CILIUM_NETWORK_POLICY, 'web', 'shop');
  await eventually('it is gone', () => rules().length === 0);
});

test('a group of ranges that a policy of Cilium’s names is in the kernel as soon as it is there', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: { endpointSelector: {}, egress: [{ toCIDRSet: [{ cidrGroupRef: 'partners' }] }] },
  });
  await eventually('it is closed', () => backend.kernel.rules.size > 0);
  const isMeant = () => (backend.kernel.identities.get('192.0.2.0/24') ?? 0) !== 0;
  assert.equal(isMeant(), false);
  await client.create(CILIUM_CIDR_GROUP, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'partners' },
    spec: { externalCIDRs: ['192.0.2.0/24'] },
  });
  await eventually('the group is meant', isMeant);
  await client.delete(CILIUM_CIDR_GROUP, 'partners');
  await eventually('it is not any more', () => !isMeant());
});

test('a policy of Calico’s that names a Service follows what the Service is', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web', '10.244.0.2'));
  await created(client, pod('api', '10.244.0.3'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await client.create(GLOBAL_NETWORK_POLICY, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name: 'p' },
    spec: {
      selector: "app == 'web'",
      types: ['Egress'],
      egress: [{ action: 'Allow', destination: { services: { name: 'api', namespace: 'shop' } } }],
    },
  });
  await eventually('it is closed', () => backend.kernel.rules.size > 0);
  const isTold = () => (backend.kernel.identities.get('10.244.0.3/32') ?? 0) !== 0;
  assert.equal(isTold(), false);
  await client.create(SERVICE, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'shop', name: 'api' },
    spec: { selector: { app: 'api' }, ports: [{ port: 80 }] },
  });
  await eventually('its pods are meant', isTold);
});

test('who the API server is follows what its Service stands for', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  await client.create(SERVICE, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: 'kubernetes' },
    spec: { ports: [{ port: 443 }] },
  });
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: { endpointSelector: {}, egress: [{ toEntities: ['kube-apiserver'] }] },
  });
  await eventually('it is closed', () => backend.kernel.rules.size > 0);
  const isMeant = () => (backend.kernel.identities.get('192.0.2.10/32') ?? 0) !== 0;
  assert.equal(isMeant(), false);
  await client.create(ENDPOINT_SLICE, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: 'kubernetes',
      labels: { 'kubernetes.io/service-name': 'kubernetes' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['192.0.2.10'] }],
  });
  await eventually('its address is meant', isMeant);
});

test('rules that a data path alone cannot decide are told', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  const ports = [{ port: '80', protocol: 'TCP' }];
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: {
      endpointSelector: {},
      ingress: [{ toPorts: [{ ports, rules: { http: [{ method: 'GET' }] } }] }],
      egress: [{ toEntities: ['world'], authentication: { mode: 'required' } }],
    },
  });
  await eventually('it is programmed', () => backend.kernel.rules.size === 4);
  assert.deepEqual(controller.status().problems.toSorted(), [
    'CiliumNetworkPolicy shop/web spec.egress[0]: nobody can prove who he is yet: all is denied',
    'CiliumNetworkPolicy shop/web spec.ingress[0].toPorts[0]: there is no proxy yet that reads requests: all are denied',
  ]);
});

test('a policy that names a Service follows what the Service is', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web', '10.244.0.2'));
  await created(client, pod('api', '10.244.0.3'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await eventually('the pod is there', () => backend.kernel.pods.size === 1);
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: {
      endpointSelector: { matchLabels: { app: 'web' } },
      egress: [{ toServices: [{ k8sService: { serviceName: 'api' } }] }],
    },
  });
  await eventually('it is programmed', () => backend.kernel.endpoints.get('10.244.0.2')?.egress !== 0);
  const isTold = () => (backend.kernel.identities.get('10.244.0.3/32') ?? 0) !== 0;
  assert.equal(isTold(), false);
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'shop', name: 'api' },
    spec: { selector: { app: 'api' }, ports: [{ port: 80 }] },
  };
  await client.create(SERVICE, service);
  await eventually('its pods are meant', isTold);
  await client.delete(SERVICE, 'api', 'shop');
  await eventually('they are not any more', () => !isTold());
});

test('nothing is pruned before every list is complete', async (t) => {
  const { backend, controller, startInformers } = setUp(t);
  await quiet();
  assert.deepEqual(backend.sent, []);
  assert.equal(controller.status().ready, false);
  startInformers();
  await controller.ready();
  assert.equal(backend.kernel.settings.size, 1);
});

for (const last of ['services', 'slices', 'nodes', 'protections'] as const)
  test(`the first convergence knows what the last list told, of ${last} too`, async (t) => {
    const { client, backend, controller, informers, startInformers } = setUp(t);
    await client.create(SERVICE, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'shop', name: 'cart' },
      spec: { clusterIPs: ['10.96.0.7'], ports: [{ port: 80, protocol: 'TCP' }] },
    });
    await client.create(ENDPOINT_SLICE, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { namespace: 'shop', name: 'cart-1', labels: { 'kubernetes.io/service-name': 'cart' } },
      addressType: 'IPv4',
      ports: [{ port: 8080, protocol: 'TCP' }],
      endpoints: [{ addresses: ['10.244.0.2'] }],
    });
    await client.create(NODE, {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'node-2' },
      spec: { podCIDRs: ['10.244.2.0/24'] },
      status: { addresses: [{ type: 'InternalIP', address: '10.240.0.2' }] },
    });
    await client.create(UPLINK_PROTECTION, {
      apiVersion: 'heddle.dev/v1alpha1',
      kind: 'UplinkProtection',
      metadata: { name: 'edge' },
      spec: { denied: ['198.51.100.0/24'] },
    });
    const names = (Object.keys(informers) as (keyof typeof informers)[]).filter((name) => name !== last);
    startInformers(names);
    await Promise.all(names.map((name) => informers[name].synced()));
    await quiet();
    startInformers([last]);
    await controller.ready();
    await quiet();
    const [service] = backend.kernel.services.values();
    assert.equal(service?.backends.length, 1);
    assert.deepEqual([backend.kernel.routes.size, backend.kernel.protection.size], [1, 1]);
    assert.equal(backend.sent.length, 1, 'nothing was left to be applied later');
  });

test('a pod is settled when its policy is in the kernel, though the API server does not know its address', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('api'));
  await client.create(NETWORK_POLICY, denyAll);
  startInformers();
  await controller.ready();
  let settled = false;
  const waiting = controller.settled(uid, AbortSignal.timeout(60_000)).then(() => {
    settled = true;
  });
  await quiet();
  assert.equal(settled, false);
  setLocal([local('api', '10.244.0.7', uid)]);
  await waiting;
  const tables = backend.kernel.endpoints.get('10.244.0.7');
  assert.ok(tables && tables.ingress !== 0, 'the pod is isolated');
  assert.ok(backend.kernel.pods.has('shop/api'));
});

test('a pod that came anew has to be settled anew', async (t) => {
  const { client, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('api'));
  startInformers();
  setLocal([local('api', '10.244.0.7', uid)]);
  await controller.settled(uid, AbortSignal.timeout(60_000));
  const { applied } = controller.status();
  setLocal([]);
  await eventually('it has left', () => controller.status().applied > applied);
  await assert.rejects(controller.settled(uid, AbortSignal.timeout(50)));
});

test('a pod is not taken for an earlier one of its name, which may have had other labels', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const old = await created(client, pod('api', '10.244.0.7'));
  startInformers();
  setLocal([local('api', '10.244.0.7', old)]);
  await controller.settled(old, AbortSignal.timeout(60_000));
  setLocal([local('api', '10.244.0.7', old), local('api', '10.244.0.8', 'not known yet')]);
  await assert.rejects(controller.settled('not known yet', AbortSignal.timeout(100)));
  assert.deepEqual(backend.kernel.pods.get('shop/api')?.addresses, ['10.244.0.7']);
  await client.delete(POD, 'api', 'shop', { gracePeriodSeconds: 0 });
  const fresh = await created(client, pod('api'));
  setLocal([local('api', '10.244.0.7', old), local('api', '10.244.0.8', fresh)]);
  await controller.settled(fresh, AbortSignal.timeout(60_000));
  assert.deepEqual(backend.kernel.pods.get('shop/api')?.addresses, ['10.244.0.8']);
  await assert.rejects(controller.settled(old, AbortSignal.timeout(100)));
});

test('a policy that comes or goes reaches the kernel', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('api', '10.244.0.7'));
  startInformers();
  setLocal([local('api', '10.244.0.7', uid)]);
  await controller.settled(uid, AbortSignal.timeout(60_000));
  const ingress = () => backend.kernel.endpoints.get('10.244.0.7')?.ingress ?? 0;
  assert.equal(ingress(), 0);
  await client.create(NETWORK_POLICY, denyAll);
  await eventually('the pod is isolated', () => ingress() !== 0);
  const [rule] = backend.kernel.rules.keys();
  assert.match(controller.rule(Number(rule))?.text ?? '', /default deny ingress: NetworkPolicy shop\/deny/);
  await client.delete(NETWORK_POLICY, 'deny', 'shop');
  await eventually('the pod is open', () => ingress() === 0);
  assert.ok(controller.rule(Number(rule)), 'what a rule was is known after it has gone');
});

test('what could not be applied is converged again, from the kernel’s truth', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('api', '10.244.0.7'));
  startInformers();
  await controller.ready();
  backend.failNext(new Error('the kernel says no'));
  setLocal([local('api', '10.244.0.7', uid)]);
  await eventually('the error is told', () => controller.status().lastError === 'the kernel says no');
  await controller.settled(uid, AbortSignal.timeout(60_000));
  assert.ok(backend.kernel.pods.has('shop/api'));
  assert.deepEqual([controller.status().failed, controller.status().lastError], [1, undefined]);
});

test('an object that changes nothing sends nothing', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('api', '10.244.0.7'));
  startInformers();
  setLocal([local('api', '10.244.0.7', uid)]);
  await controller.settled(uid, AbortSignal.timeout(60_000));
  const sent = backend.sent.length;
  await client.patch(POD, 'api', 'shop', { metadata: { annotations: { note: 'x' } } });
  await quiet();
  assert.equal(backend.sent.length, sent);
});

test('what a policy asks for and a table cannot say is told, as long as it is asked for', async (t) => {
  const { client, backend, controller, startInformers, setLocal } = setUp(t);
  const uid = await created(client, pod('web'));
  startInformers();
  await controller.ready();
  setLocal([local('web', '10.244.0.2', uid)]);
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'shop', name: 'web' },
    spec: {
      endpointSelector: {},
      ingress: [{ icmps: [{ fields: [{ family: 'IPv4', type: 8 }] }] }],
    },
  });
  const verdicts = () => [...backend.kernel.rules.values()].map(({ verdict }) => verdict);
  await eventually('it is programmed', () => verdicts().includes('allow'));
  assert.match(
    controller.status().problems.join(),
    /^CiliumNetworkPolicy shop\/web spec\.ingress\[0\].*: types of ICMP are not told apart yet/,
  );
  await client.delete(CILIUM_NETWORK_POLICY, 'web', 'shop');
  await eventually('it is gone', () => verdicts().length === 0);
  assert.deepEqual(controller.status().problems, []);
});
