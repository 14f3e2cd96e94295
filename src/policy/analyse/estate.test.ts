import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEstate, workloadsCalled, workloadText } from './estate.ts';

const owners: Readonly<Record<string, { kind: string; name: string }>> = {
  'cart-1a-x': { kind: 'ReplicaSet', name: 'cart-1a' },
  'cart-1a-y': { kind: 'ReplicaSet', name: 'cart-1a' },
  'cart-db-0': { kind: 'StatefulSet', name: 'cart-db' },
  'cart-db-1a-x': { kind: 'ReplicaSet', name: 'cart-db-1a' },
};

const estate = createEstate(
  {
    pods: [...Object.keys(owners), 'alone'].map((name) => ({
      namespace: 'shop',
      name,
      node: '',
      labels: {},
      addresses: [],
      ports: [],
    })),
    namespaces: [],
    nodes: [],
    policies: [],
  },
  (pod) => owners[pod.name],
);

for (const [words, expected] of [
  [{ name: 'alone' }, ['shop/alone (Pod)']],
  [{ name: 'cart-1a' }, ['shop/cart-1a (ReplicaSet)']],
  [{ name: 'cart-1a-y' }, ['shop/cart-1a (ReplicaSet)']],
  [{ name: 'cart' }, ['shop/cart-1a (ReplicaSet)']],
  [{ name: 'cart', kind: 'deployment' }, ['shop/cart-1a (ReplicaSet)']],
  [{ name: 'cart', kind: 'StatefulSet' }, []],
  [{ name: 'cart-db' }, ['shop/cart-db (StatefulSet)']],
  [{ name: 'cart-db', kind: 'deployment' }, ['shop/cart-db-1a (ReplicaSet)']],
  [{ name: 'nobody' }, []],
] as const)
  test(`${JSON.stringify(words)} means ${expected.join(', ') || 'nobody'}`, () => {
    const found = workloadsCalled(estate, { namespace: 'shop', ...words });
    assert.deepEqual(found.map(workloadText), expected);
  });

test('pods of one owner are one workload', () => {
  assert.equal(estate.workloads.find(({ name }) => name === 'cart-1a')?.pods.length, 2);
});
