import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeObject } from '../../api/types.ts';
import { workloadText } from '../../policy/analyse/estate.ts';
import { estateFromObjects } from '../../policy/analyse/from-objects.ts';
import { overlay } from './overlay.ts';

const owned = (kind: string, name: string) => [
  { apiVersion: 'x/v1', kind, name, uid: '1', controller: true },
];

const livePod = (name: string, replicaSet: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    namespace: 'shop',
    name,
    labels: { app: 'web', 'pod-template-hash': '1' },
    ownerReferences: owned('ReplicaSet', replicaSet),
  },
  spec: { nodeName: 'node-1', containers: [] },
  status: { podIPs: [{ ip: '10.0.0.1' }] },
});

const replicaSet: KubeObject = {
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { namespace: 'shop', name: 'web-1', ownerReferences: owned('Deployment', 'web') },
};

const deployment = (name: string): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { namespace: 'shop', name },
  spec: {
    template: {
      metadata: { labels: { app: 'new' } },
      spec: { containers: [{ name: 'x', ports: [{ containerPort: 80 }] }] },
    },
  },
});

test('a changed workload changes the pods that it has; they stay who they are', () => {
  const objects = overlay(
    [livePod('web-1-a', 'web-1'), livePod('api-1-a', 'api-1')],
    [deployment('web')],
    [replicaSet],
  );
  const { estate } = estateFromObjects(objects);
  assert.deepEqual(estate.workloads.map(workloadText), [
    'shop/api-1 (ReplicaSet)',
    'shop/web-1 (ReplicaSet)',
  ]);
  const [pod] = estate.workloads[1]!.pods;
  assert.deepEqual(pod?.labels, { 'pod-template-hash': '1', app: 'new' });
  assert.deepEqual(
    [pod?.node, pod?.addresses, pod?.ports.map(({ port }) => port)],
    ['node-1', ['10.0.0.1'], [80]],
  );
});

test('a new workload is one of its own', () => {
  const { estate } = estateFromObjects(
    overlay([livePod('web-1-a', 'web-1')], [deployment('more')], [replicaSet]),
  );
  assert.deepEqual(estate.workloads.map(workloadText), ['shop/more (Deployment)', 'shop/web-1 (ReplicaSet)']);
});

test('of one object the file’s counts', () => {
  const policy = (rules: number): KubeObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'shop', name: 'p' },
    spec: { podSelector: {}, ingress: Array.from({ length: rules }, () => ({})) },
  });
  const { estate } = estateFromObjects(overlay([policy(1)], [policy(2)], []));
  assert.deepEqual(
    estate.world.policies.map(({ spec }) => (spec as { ingress: object[] }).ingress.length),
    [2],
  );
});
