import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ADMIN_NETWORK_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  ENDPOINT_SLICE,
  SERVICE,
} from '../api/kinds.ts';
import type { AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy } from '../api/types.ts';
import { createFakeClient, eventually } from '../client/fake.ts';
import { createEventRecorder } from '../client/events.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { createClusterInformers } from './informers.ts';
import { createPolicyStatusController } from './policy-status.ts';
import { policyCondition, withObserved } from './policy-status-plan.ts';

const guard = (
  to: AdminNetworkPolicy['spec']['egress'],
  labels: Record<string, string> = {},
): AdminNetworkPolicy => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha1',
  kind: 'AdminNetworkPolicy',
  metadata: { name: 'guard', labels },
  spec: { priority: 1, subject: { namespaces: {} }, egress: to },
});

const denyAll: AdminNetworkPolicy['spec']['egress'] = [{ action: 'Deny', to: [{ networks: ['0.0.0.0/0'] }] }];
const unreadable: AdminNetworkPolicy['spec']['egress'] = [
  { action: 'Deny', to: [{ networks: ['not a network'] }] },
  { action: 'Deny', to: [{ networks: ['10.0.0.0/99'] }] },
];

test('a policy that is read whole is accepted, an audited one says that it decides nothing', () => {
  const accepted = policyCondition('Accepted', guard(denyAll));
  assert.deepEqual(
    [accepted.status, accepted.reason, accepted.message],
    ['True', 'Accepted', '0 ingress and 1 egress rules are read'],
  );
  const audited = policyCondition('Accepted', guard(denyAll, { 'heddle.dev/stage': 'audit' }));
  assert.deepEqual([audited.status, audited.reason], ['True', 'Audited']);
});

test('parts that cannot be read are named with their paths, as many as a message can hold', () => {
  const { status, reason, message } = policyCondition('Accepted', guard(unreadable));
  assert.deepEqual([status, reason], ['False', 'PartlyUnreadable']);
  assert.match(message ?? '', /spec\.egress\[0\]\.to\[0\]\.networks\[0\].*; spec\.egress\[1\]/);
  const many = Array.from({ length: 5000 }, () => unreadable[0]!);
  const long = policyCondition('Accepted', guard(many)).message ?? '';
  assert.ok(long.length < 4096, `${long.length}`);
  assert.match(long, /; and \d+ more$/);
});

test('what is so already is not written again; a new generation is, once', () => {
  const condition = policyCondition('Accepted', guard(denyAll));
  const first = withObserved([], condition, { generation: 1, now: '2026-01-01T00:00:00Z' });
  assert.equal(withObserved(first, condition, { generation: 1, now: '2026-01-02T00:00:00Z' }), first);
  const second = withObserved(first, condition, { generation: 2, now: '2026-01-02T00:00:00Z' });
  assert.deepEqual(
    second.map(({ observedGeneration, lastTransitionTime }) => [observedGeneration, lastTransitionTime]),
    [[2, '2026-01-01T00:00:00Z']],
    'its status has not changed since',
  );
});

test('each kind gets its condition by one write, and conditions of others stay', async (t) => {
  const client = createFakeClient();
  const metrics = createMetrics();
  const informers = createClusterInformers(client, silentLog);
  const controller = createPolicyStatusController({
    client,
    informers,
    log: silentLog,
    metrics,
    clock: systemClock,
    recorder: (component) => createEventRecorder(client, { component, log: silentLog, clock: systemClock }),
  });
  const stop = new AbortController();
  const done = [informers.run(stop.signal), controller.run(stop.signal)];
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
  const baseline: BaselineAdminNetworkPolicy = {
    ...guard([]),
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
  };
  const cluster: ClusterNetworkPolicy = {
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'c' },
    spec: { tier: 'Admin', priority: 1, subject: { namespaces: {} } },
  };
  const other = { type: 'Ready-In-Zone-a', status: 'True', reason: 'r', message: '' } as never;
  const stored = await client.create(ADMIN_NETWORK_POLICY, guard(unreadable));
  await client.updateStatus(ADMIN_NETWORK_POLICY, { ...stored, status: { conditions: [other] } });
  await client.create(BASELINE_ADMIN_NETWORK_POLICY, baseline);
  await client.create(CLUSTER_NETWORK_POLICY, cluster);
  await client.create(CILIUM_NETWORK_POLICY, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'c', namespace: 'default' },
    specs: [
      {
        endpointSelector: {},
        ingress: [{ fromCIDRSet: [{ cidrGroupRef: 'g' }] }, { fromEntities: ['kube-apiserver'] }],
      },
    ],
  });
  const conditions = () =>
    [ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY, CLUSTER_NETWORK_POLICY, CILIUM_NETWORK_POLICY].map(
      (kind) =>
        client
          .all<{ status?: { conditions?: { type: string; status: string }[] } }>(kind as never)[0]
          ?.status?.conditions?.map(({ type, status }) => `${type} ${status}`),
    );
  const wanted = [
    ['Ready-In-Zone-a True', 'Accepted False'],
    ['Accepted True'],
    ['Accepted True'],
    ['Valid False'],
  ];
  await eventually('conditions', () => JSON.stringify(conditions()) === JSON.stringify(wanted));

  const [now] = client.all(ADMIN_NETWORK_POLICY);
  await client.update(ADMIN_NETWORK_POLICY, { ...now!, spec: { ...now!.spec, egress: denyAll } });
  await client.create(CILIUM_CIDR_GROUP, {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumCIDRGroup',
    metadata: { name: 'g' },
    spec: { externalCIDRs: ['192.0.2.0/24'] },
  });
  await client.create(ENDPOINT_SLICE, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'default',
      name: 'kubernetes',
      labels: { 'kubernetes.io/service-name': 'kubernetes' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.240.0.2'] }],
  });
  await client.create(SERVICE, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'default', name: 'kubernetes' },
    spec: { ports: [{ port: 443 }] },
  });
  await eventually(
    'the group and the API server that are named are there',
    () => conditions()[3]?.[0] === 'Valid True',
  );
  await eventually('mended', () => conditions()[0]?.[1] === 'Accepted True');
  const own = client.writes.filter(({ verb, key }) => verb === 'updateStatus' && key.endsWith('guard'));
  assert.ok(own.length <= 4, `one by this test, one a generation, and a conflict: ${own.length}`);
});
