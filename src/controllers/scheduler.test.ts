import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Pod } from '../api/types.ts';
import { planPlacements } from './scheduler-plan.ts';
import { podOf, readyNode, replicaSetOf } from './testing.ts';

const none: ReadonlyMap<string, string> = new Map();
const place = (
  pods: readonly Pod[],
  nodes = [readyNode('a'), readyNode('b'), readyNode('c')],
  assumed = none,
) => planPlacements({ nodes, pods, assumed });

function counts(placements: ReturnType<typeof place>): number[] {
  return [...Map.groupBy(placements, (one) => one.node).values()]
    .map((all) => all.length)
    .sort((a, b) => a - b);
}

test('replicas of one owner are spread evenly, whatever else is there', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 20 }), fc.nat(20), (others, n) => {
      const owner = replicaSetOf(n);
      const pods = [
        ...others.map((node) => podOf({ node, labels: { app: 'other' } })),
        ...Array.from({ length: n }, () => podOf({ owner })),
      ];
      const placed = place(pods);
      assert.equal(placed.length, n);
      const sizes = ['a', 'b', 'c'].map((node) => placed.filter((one) => one.node === node).length);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
    }),
  );
});

test('pods of different owners fill the emptier nodes', () => {
  const pods = [
    podOf({ node: 'a' }),
    podOf({ node: 'a' }),
    podOf({ node: 'b' }),
    podOf({ labels: { x: 'y' } }),
  ];
  assert.equal(place(pods)[0]?.node, 'c');
});

test('what was assigned a moment ago counts, and is not assigned again', () => {
  const owner = replicaSetOf(2);
  const [first, second] = [podOf({ owner }), podOf({ owner })];
  const assumed = new Map([[first.metadata.uid!, 'a']]);
  const placed = place([first, second], [readyNode('a'), readyNode('b')], assumed);
  assert.deepEqual(
    placed.map((one) => [one.pod.metadata.uid, one.node]),
    [[second.metadata.uid, 'b']],
  );
});

test('a pod that fits nowhere is told why, node by node', () => {
  const notReady = readyNode('sick');
  notReady.status!.conditions = [{ type: 'Ready', status: 'False' }];
  const full = readyNode('full');
  full.status!.allocatable = { pods: '0' };
  const nodes = [
    notReady,
    full,
    readyNode('cordoned', { unschedulable: true }),
    readyNode('tainted', { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] }),
  ];
  const [placement] = place([podOf()], nodes);
  assert.equal(placement?.node, undefined);
  assert.equal(
    placement && 'why' in placement && placement.why,
    '0/4 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were not ready, 1 node(s) were unschedulable.',
  );
  assert.deepEqual(
    place([podOf()], []).map((one) => 'why' in one && one.why),
    ['0/0 nodes are available.'],
  );
});

test('selectors, affinity and tolerations are honoured', () => {
  const nodes = [
    readyNode('plain'),
    readyNode('fast', { taints: [{ key: 'gpu', effect: 'NoSchedule' }] }, { disk: 'ssd', size: '5' }),
  ];
  const pod = podOf();
  pod.spec = { ...pod.spec!, nodeSelector: { disk: 'ssd' } };
  assert.equal(place([pod], nodes)[0]?.node, undefined);
  pod.spec.tolerations = [{ key: 'gpu', operator: 'Exists' }];
  assert.equal(place([pod], nodes)[0]?.node, 'fast');
  const require = (
    key: string,
    operator: 'In' | 'NotIn' | 'Gt' | 'Lt' | 'Exists' | 'DoesNotExist',
    values: string[],
  ) => {
    const nodeSelectorTerms = [{ matchExpressions: [{ key, operator, values }] }];
    pod.spec!.affinity = {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
    };
    return place([pod], nodes)[0]?.node;
  };
  assert.equal(require('size', 'Gt', ['4']), 'fast');
  assert.equal(require('size', 'Lt', ['4']), undefined);
  assert.equal(require('disk', 'NotIn', ['ssd']), undefined);
  assert.equal(require('disk', 'In', ['ssd', 'hdd']), 'fast');
});

test('1,000 pods are placed in one pass', () => {
  const owners = Array.from({ length: 10 }, (_, i) => ({
    ...replicaSetOf(100),
    metadata: { name: `web-${i}`, namespace: 'shop', uid: `uid-${i}` },
  }));
  const pods = Array.from({ length: 1000 }, (_, i) => podOf({ owner: owners[i % 10] }));
  const nodes = ['a', 'b', 'c', 'd', 'e'].map((name) => readyNode(name));
  assert.deepEqual(counts(place(pods, nodes)), [200, 200, 200, 200, 200]);
});

test('pods that ask for one port of their node are not put on one node', () => {
  const asking = (hostPort: number, hostIP = '', protocol = 'TCP', node?: string): Pod => {
    const pod = podOf(node === undefined ? {} : { node });
    const ports = [{ containerPort: 80, hostPort, hostIP, protocol }];
    pod.spec = { ...pod.spec, containers: [{ name: 'c', image: 'x', ports }] } as Pod['spec'];
    return pod;
  };
  const nodes = [readyNode('a'), readyNode('b')];
  const nodesOf = (pods: Pod[]) => place(pods, nodes).map((one) => one.node);
  const [first, second, third] = place([asking(80), asking(80), asking(80)], nodes);
  assert.deepEqual(new Set([first?.node, second?.node]), new Set(['a', 'b']));
  assert.equal(
    third?.node === undefined && third?.why,
    "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.",
  );
  const taken = [asking(80, '10.0.0.1', 'TCP', 'a'), asking(80, '10.0.0.1', 'TCP', 'b')];
  assert.deepEqual(nodesOf([...taken, asking(80, '0.0.0.0')]), [undefined], 'all addresses are those too');
  assert.equal(nodesOf([...taken, asking(80, '10.0.0.2')]).length, 1);
  assert.notEqual(nodesOf([...taken, asking(80, '10.0.0.2')])[0], undefined);
  assert.notEqual(nodesOf([...taken, asking(80, '', 'UDP')])[0], undefined);
});
