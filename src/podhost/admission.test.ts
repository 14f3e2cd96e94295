import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amountsOf } from '../api/pod-requests.ts';
import type { Pod } from '../api/types.ts';
import { createAdmission } from './admission.ts';
import { saidOnce } from './said-once.ts';

const pod = (requests: Record<string, string> = {}, more: Partial<NonNullable<Pod['spec']>> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { containers: [{ name: 'c', image: 'i', resources: { requests } }], ...more },
});
const allocatable = { cpu: '2', memory: '1Gi', pods: '3' };
const reasons = (pressures: string[], ...pods: Pod[]) => {
  const admission = createAdmission({ allocatable, pressures });
  return pods.map((one) => admission.admit(one)?.reason);
};

test('a pod beyond the node’s room is rejected in a kubelet’s words', () => {
  const admission = createAdmission({ allocatable, pressures: [] });
  admission.take(pod({ cpu: '1500m' }));
  assert.deepEqual(admission.admit(pod({ cpu: '600m' })), {
    reason: 'OutOfcpu',
    message:
      "Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
  });
  assert.equal(admission.admit(pod({ cpu: '500m' })), undefined, 'it took nothing');
  assert.equal(admission.admit(pod({ memory: '2Gi' }))?.reason, 'OutOfmemory');
  assert.equal(admission.admit(pod({ 'example.com/gpu': '1' }))?.reason, 'OutOfexample.com/gpu');
  assert.equal(admission.admit(pod()), undefined);
  assert.deepEqual(admission.admit(pod())?.message.slice(-40), 'pods, requested: 1, used: 3, capacity: 3');
  assert.equal(
    createAdmission({ pressures: [] }).admit(pod({ cpu: '99' })),
    undefined,
    'nobody knows its room',
  );
  assert.equal(amountsOf(allocatable).size, 3);
});

test('what a pod takes of the room is decided elsewhere, and it is one pod whatever it requests', () => {
  const admission = createAdmission({ allocatable, pressures: [], takes: () => new Map([['pods', 0]]) });
  assert.deepEqual(
    Array.from({ length: 4 }, () => admission.admit(pod({ cpu: '99' }))?.reason),
    [undefined, undefined, undefined, 'OutOfpods'],
  );
});

test('a node that is short of something takes no pods, but those that get by', () => {
  const asks = pod({ memory: '1Mi' });
  const critical = pod({}, { priority: 2_000_001_000 });
  const tolerant = pod(
    {},
    { tolerations: [{ key: 'node.kubernetes.io/memory-pressure', operator: 'Exists' }] },
  );
  assert.deepEqual(reasons(['DiskPressure'], asks, pod(), critical), ['Evicted', 'Evicted', undefined]);
  assert.deepEqual(reasons(['MemoryPressure'], asks, pod(), tolerant), [undefined, 'Evicted', undefined]);
  assert.deepEqual(reasons(['MemoryPressure', 'DiskPressure'], asks), ['Evicted']);
  assert.equal(
    createAdmission({ pressures: ['DiskPressure'] }).admit(pod())?.message,
    'Pod was rejected: The node had condition: [DiskPressure]. ',
  );
});

test('a trouble that lasts is told once a minute, another one at once', () => {
  let now = 0;
  const told: string[] = [];
  const tell = saidOnce((reason, message) => void told.push(`${reason}: ${message}`), {
    monotonic: () => now,
  });
  for (let i = 0; i < 10; i++) tell('Failed', 'a');
  assert.deepEqual(told, ['Failed: a']);
  tell('Failed', 'b');
  now = 59_999;
  tell('Failed', 'b');
  assert.equal(told.length, 2);
  now = 60_000;
  tell('Failed', 'b');
  assert.deepEqual(told, ['Failed: a', 'Failed: b', 'Failed: b']);
});
