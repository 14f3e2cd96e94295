import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Pod } from '../api/types.ts';
import { isActive } from './pods.ts';
import { planReplicaSet, rankForDeletion, replicaSetStatus } from './replicaset-plan.ts';
import { podOf, replicaSetOf } from './testing.ts';

const none: ReadonlySet<string> = new Set();

const parts = fc.record({
  owned: fc.boolean(),
  matching: fc.boolean(),
  ready: fc.boolean(),
  deleting: fc.boolean(),
  phase: fc.constantFrom('Pending', 'Running', 'Failed', 'Succeeded'),
  node: fc.constantFrom('node-1', 'node-2', undefined),
});

test('whatever the pods are, one step brings a ReplicaSet to its number', () => {
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 30 }), fc.nat(20), (given, wanted) => {
      const replicaSet = replicaSetOf(wanted);
      const pods = given.map(({ owned, matching, ...one }) =>
        podOf({ ...one, owner: owned ? replicaSet : undefined, labels: { app: matching ? 'web' : 'other' } }),
      );
      const plan = planReplicaSet({ replicaSet, pods, deleted: none, now: 1e6 });
      const removed = new Set<Pod>(plan.remove);
      const released = new Set<Pod>(plan.release);
      const owned = pods.filter((one) => one.metadata.ownerReferences && !released.has(one));
      const left = [...owned, ...plan.adopt].filter((one) => isActive(one) && !removed.has(one));
      assert.equal(left.length + plan.create, wanted);
      assert.ok(plan.create === 0 || plan.remove.length === 0);
      assert.ok(plan.adopt.every((one) => one.metadata.labels?.['app'] === 'web' && isActive(one)));
      assert.ok(plan.release.every((one) => one.metadata.labels?.['app'] === 'other'));
    }),
  );
});

test('pods that were deleted but are still in a stale copy are not counted, nor deleted again', () => {
  const replicaSet = replicaSetOf(1);
  const pods = [1, 2, 3].map(() => podOf({ owner: replicaSet, node: 'node-1' }));
  const first = planReplicaSet({ replicaSet, pods, deleted: none, now: 0 });
  assert.equal(first.remove.length, 2);
  const deleted = new Set(first.remove.map((one) => one.metadata.uid!));
  const second = planReplicaSet({ replicaSet, pods, deleted, now: 0 });
  assert.deepEqual([second.create, second.remove.length, second.status.replicas], [0, 0, 1]);
});

test('the least useful pods go first', () => {
  const pods = [
    podOf({ name: 'old', node: 'a', since: 1000 }),
    podOf({ name: 'young', node: 'a', since: 1000, created: 5000 }),
    podOf({ name: 'lately-ready', node: 'a', since: 9000 }),
    podOf({ name: 'alone', node: 'b', since: 9000 }),
    podOf({ name: 'cheap', node: 'b', since: 1000 }),
    podOf({ name: 'not-ready', node: 'a', ready: false }),
    podOf({ name: 'pending', node: 'a', phase: 'Pending', ready: false }),
    podOf({ name: 'unassigned' }),
  ];
  pods[4]!.metadata.annotations = { 'controller.kubernetes.io/pod-deletion-cost': '-1' };
  assert.deepEqual(
    rankForDeletion(pods).map((one) => one.metadata.name),
    ['unassigned', 'pending', 'not-ready', 'cheap', 'lately-ready', 'young', 'old', 'alone'],
  );
});

test('a ready pod is available only after minReadySeconds, and the controller comes back then', () => {
  const replicaSet = replicaSetOf(2, { minReadySeconds: 10 });
  const pods = [0, 6000].map((since) => podOf({ owner: replicaSet, node: 'a', since }));
  const plan = planReplicaSet({ replicaSet, pods, deleted: none, now: 12_000 });
  assert.equal(plan.status.readyReplicas, 2);
  assert.equal(plan.status.availableReplicas, 1);
  assert.equal(plan.again, 4000);
});

test('a status is written when it says something new', () => {
  const replicaSet = replicaSetOf(1);
  const { status } = planReplicaSet({ replicaSet, pods: [], deleted: none, now: 0 });
  const first = replicaSetStatus(replicaSet, status, { reason: 'FailedCreate', message: 'no' }, 't1');
  assert.equal(first?.conditions?.[0]?.reason, 'FailedCreate');
  const stored = { ...replicaSet, status: first };
  assert.equal(replicaSetStatus(stored, status, { reason: 'FailedCreate', message: 'no' }, 't2'), undefined);
  const mended = replicaSetStatus(stored, status, undefined, 't3');
  assert.equal(mended?.conditions, undefined);
});

test('pods that fail as soon as they are made are made again later and later, those that ran for long at once', () => {
  const owner = replicaSetOf(1);
  const planAt = (failures: number, now: number) => {
    const pods = Array.from({ length: failures }, () => podOf({ owner, phase: 'Failed', created: 1000 }));
    const { create, again } = planReplicaSet({ replicaSet: owner, pods, deleted: none, now });
    return [create, again];
  };
  assert.deepEqual(planAt(4, 1000), [1, undefined]);
  assert.deepEqual(planAt(5, 1000), [0, 1000]);
  assert.deepEqual(planAt(7, 1500), [0, 3500]);
  assert.deepEqual(planAt(7, 5000), [1, undefined]);
  assert.deepEqual(planAt(1000, 1000), [0, 60_000]);
  assert.deepEqual(planAt(1000, 61_000), [1, undefined]);
});
