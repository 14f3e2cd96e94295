import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Pod } from '../api/types.ts';
import { podRequests } from '../api/pod-requests.ts';
import { podTakes } from '../api/pod-room.ts';
import { RUNTIME_ANNOTATION } from '../api/runtime.ts';
import { keepPod } from './pods.ts';
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
    ['no nodes available to schedule pods'],
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

const sized = (allocatable: Record<string, string>, name = 'a') => {
  const node = readyNode(name);
  node.status!.allocatable = { pods: '110', ...allocatable };
  return node;
};
const asking = (requests: Record<string, string>, parts: Parameters<typeof podOf>[0] = {}): Pod => {
  const pod = podOf(parts);
  pod.spec = { ...pod.spec, containers: [{ name: 'c', image: 'x', resources: { requests } }] } as Pod['spec'];
  return pod;
};
const whyOf = (pods: Pod[], nodes: ReturnType<typeof sized>[]) => {
  const last = place(pods, nodes).at(-1);
  return last && 'why' in last ? last.why : last?.node;
};

test('pods fit by what they request, and are told everything that is short', () => {
  const nodes = [sized({ cpu: '2', memory: '1Gi' }, 'a'), sized({ cpu: '4', memory: '512Mi' }, 'b')];
  assert.equal(whyOf([asking({ cpu: '3' })], nodes), 'b');
  assert.equal(whyOf([asking({ memory: '1Gi' })], nodes), 'a', 'to the last byte');
  assert.equal(
    whyOf([asking({ cpu: '3', memory: '1Gi' })], nodes),
    '0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.',
  );
  assert.equal(
    whyOf([asking({ cpu: '5', memory: '2Gi', 'example.com/gpu': '1' })], nodes),
    '0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient example.com/gpu, 2 Insufficient memory.',
  );
  assert.equal(whyOf([asking({ 'example.com/gpu': '1' })], [sized({ 'example.com/gpu': '1' })]), 'a');
  const small = [sized({ cpu: '300m' })];
  assert.deepEqual(
    place(
      Array.from({ length: 4 }, () => asking({ cpu: '0.1' })),
      small,
    ).map(({ node }) => node),
    ['a', 'a', 'a', undefined],
    'those placed in the same pass count',
  );
  const taken = [
    asking({ cpu: '200m' }, { node: 'a' }),
    asking({ cpu: '1' }, { node: 'a', phase: 'Succeeded' }),
  ];
  assert.equal(whyOf([...taken, asking({ cpu: '100m' })], small), 'a', 'what has ended asks for nothing');
  assert.equal(
    whyOf([...taken, asking({ cpu: '101m' })], small),
    '0/1 nodes are available: 1 Insufficient cpu.',
  );
});

test('no node is given more than it has, whatever is asked for', () => {
  const amounts = fc.integer({ min: 0, max: 900 });
  fc.assert(
    fc.property(fc.array(fc.tuple(amounts, amounts), { maxLength: 30 }), (wishes) => {
      const nodes = [sized({ cpu: '1', memory: '1000' }, 'a'), sized({ cpu: '500m', memory: '2000' }, 'b')];
      const pods = wishes.map(([cpu, memory]) => asking({ cpu: `${cpu}m`, memory: String(memory) }));
      const placed = place(pods, nodes);
      const sums = (node: string) =>
        [0, 1].map((at) =>
          placed.reduce((sum, one, i) => sum + (one.node === node ? wishes[i]![at]! : 0), 0),
        );
      const [a, b] = [sums('a'), sums('b')];
      assert.ok(a[0]! <= 1000 && a[1]! <= 1000 && b[0]! <= 500 && b[1]! <= 2000);
      for (const [i, one] of placed.entries())
        if (one.node === undefined)
          assert.ok(
            a[0]! + wishes[i]![0] > 1000 || a[1]! + wishes[i]![1] > 1000,
            'a pod that would fit in what is left at the end has a node',
          );
    }),
  );
});

test('under memory pressure only pods that request nothing are kept away', () => {
  const node = sized({ cpu: '2' });
  node.spec = { taints: [{ key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' }] };
  assert.equal(whyOf([asking({ cpu: '1' })], [node]), 'a');
  assert.equal(
    whyOf([podOf()], [node]),
    '0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/memory-pressure: }.',
  );
});

test('what controllers keep of a pod asks for as much as the pod itself', () => {
  const pod = asking({ cpu: '1', memory: '10Mi' });
  pod.spec!.initContainers = [
    { name: 'init', image: 'x', resources: { requests: { cpu: '3' } } },
    { name: 'side', image: 'x', restartPolicy: 'Always', resources: { requests: { cpu: '1' } } },
  ];
  pod.spec!.overhead = { memory: '1Mi' };
  assert.deepEqual(podRequests(keepPod(pod)), podRequests(pod));
  assert.deepEqual(
    podRequests(pod),
    new Map([
      ['cpu', 3000],
      ['memory', 11 * 2 ** 20],
    ]),
  );
});

test('stand-ins that request more than the machine has get a node, programs beside them do not', () => {
  const nodes = [sized({ cpu: '2', memory: '1Gi' })];
  const takes = podTakes({ standIn: true, nodes: [{ name: 'a' }] });
  const run = (pods: Pod[], rule = takes) =>
    planPlacements({ nodes, pods: pods.map(keepPod), assumed: none, takes: rule }).map(({ node }) => node);
  const large = () => asking({ cpu: '16', memory: '64Gi', 'example.com/gpu': '1' });
  const program = asking({ cpu: '2' });
  program.metadata.annotations = { [RUNTIME_ANNOTATION]: 'process' };
  const second = { ...program, metadata: { ...program.metadata, name: 'zz', uid: 'second' } };
  assert.deepEqual(run([large(), large()]), ['a', 'a']);
  assert.deepEqual(run([asking({ cpu: '99' }, { node: 'a' }), program, second]), ['a', undefined]);
  const given = podTakes({ standIn: true, nodes: [{ name: 'a', resources: { cpu: '2' } }] });
  assert.deepEqual(run([asking({ cpu: '1500m' }), asking({ cpu: '600m', memory: '64Gi' })], given), [
    'a',
    undefined,
  ]);
});
