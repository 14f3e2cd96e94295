import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, Pod, ReplicaSet, Service } from '../api/types.ts';
import { type Attempt, attempts, type ClusterObjects, workloads } from './attempts.ts';

interface Replicas {
  name: string;
  count: number;
  port?: number;
}

/** `count` pods of a deployment each, on nodes in turn, with an address of each family. */
function cluster(apps: readonly Replicas[], served: readonly string[]): ClusterObjects {
  const pods = apps.flatMap(({ name, count, port = 8080 }, app) =>
    Array.from({ length: count }, (_, i): Pod => {
      const last = `${app + 1}${i}`;
      return {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: {
          namespace: 'shop',
          name: `${name}-${i}`,
          ownerReferences: [
            { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: `${name}-rs`, uid: name, controller: true },
          ],
        },
        spec: {
          nodeName: `node-${i + 1}`,
          containers: [{ name: 'c', image: 'i', ports: [{ containerPort: port }] }],
        },
        status: {
          podIPs: [{ ip: `10.244.0.${last}` }, { ip: `fd00::${last}` }],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      };
    }),
  );
  const replicaSets = apps.map(
    ({ name }): ReplicaSet => ({
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: {
        namespace: 'shop',
        name: `${name}-rs`,
        ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid: name, controller: true }],
      },
      spec: { selector: {} },
    }),
  );
  const services = served.map(
    (name): Service => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'shop', name },
      spec: { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] },
    }),
  );
  const slices = served.flatMap((name) =>
    ([0, 1] as const).map(
      (family): EndpointSlice => ({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          namespace: 'shop',
          name: `${name}-${family}`,
          labels: { 'kubernetes.io/service-name': name },
        },
        addressType: family === 0 ? 'IPv4' : 'IPv6',
        ports: [{ name: 'http', port: 8080 }],
        endpoints: pods
          .filter(({ metadata }) => metadata.name.startsWith(`${name}-`))
          .map(({ status }) => ({ addresses: [status?.podIPs?.[family]?.ip ?? ''] })),
      }),
    ),
  );
  return { pods, replicaSets, services, slices };
}

const tried = (all: readonly Attempt[], from: string, to: string) =>
  all
    .filter((attempt) => attempt.from.key === `shop/${from}` && attempt.to.key === `shop/${to}`)
    .map(({ source, host, port, family }) => `${source.name} ${host}:${port} v${family}`);

const service = (name: string) => `${name}.shop.svc.cluster.local`;

test('pods belong to the deployment behind their replica set', () => {
  const found = workloads(
    cluster(
      [
        { name: 'web', count: 2 },
        { name: 'api', count: 1 },
      ],
      [],
    ),
  );
  assert.deepEqual(
    found.map(({ key, pods }) => [key, pods.length]),
    [
      ['shop/api', 1],
      ['shop/web', 2],
    ],
  );
});

test('single pods are tried by their service, over both families, and by their own address', () => {
  const all = attempts(
    cluster(
      [
        { name: 'web', count: 1 },
        { name: 'api', count: 1 },
      ],
      ['api'],
    ),
    'cluster.local',
  );
  assert.deepEqual(tried(all, 'web', 'api'), [
    `web-0 ${service('api')}:80 v4`,
    `web-0 ${service('api')}:80 v6`,
  ]);
  assert.deepEqual(tried(all, 'api', 'web'), ['api-0 10.244.0.10:8080 v4', 'api-0 fd00::10:8080 v6']);
});

test('where there are several pods, each is a source and each a destination', () => {
  const all = attempts(
    cluster(
      [
        { name: 'web', count: 3 },
        { name: 'api', count: 2 },
      ],
      ['api', 'web'],
    ),
    'cluster.local',
  );
  for (const [from, to] of [
    ['web', 'api'],
    ['api', 'web'],
    ['web', 'web'],
    ['api', 'api'],
  ] as const) {
    const direct = tried(all, from, to).filter((text) => !text.includes(service(to)));
    const sources = new Set(direct.map((text) => text.split(' ')[0]));
    const destinations = new Set(direct.map((text) => text.split(' ')[1]));
    const [a, b] = [from, to].map((name) => (name === 'web' ? 3 : 2));
    assert.equal(sources.size, a, `${from} → ${to}: ${direct.join(', ')}`);
    assert.equal(destinations.size, 2 * (b ?? 0), 'both families of every pod');
  }
  const own = all.filter(
    ({ from, to, source, backends, label }) =>
      from === to && label.startsWith('each pod') && backends[0]?.pod === source,
  );
  assert.deepEqual(own, [], 'a pod tries its siblings, not itself');
});

test('pods that are not Ready are left alone', () => {
  const objects = cluster([{ name: 'web', count: 1 }], []);
  const [pod] = objects.pods;
  assert.ok(pod);
  const terminating = { ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } };
  assert.deepEqual(workloads({ ...objects, pods: [terminating] }), []);
});
