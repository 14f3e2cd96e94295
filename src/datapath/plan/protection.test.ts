import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { UplinkProtection } from '../../api/types.ts';
import { createPlan } from './plan.ts';
import { protectionOf } from './protection.ts';

const object = (name: string, spec: UplinkProtection['spec']): UplinkProtection => ({
  apiVersion: 'heddle.dev/v1alpha1',
  kind: 'UplinkProtection',
  metadata: { name },
  spec,
});

const node = (labels: Readonly<Record<string, string>>) => ({
  apiVersion: 'v1' as const,
  kind: 'Node' as const,
  metadata: { name: 'node-1', labels },
});

test('ranges add up in their usual form, of limits the lowest counts', () => {
  const protection = protectionOf(
    [
      object('b', { denied: ['192.0.2.7/24', '2001:DB8::/32'], limits: { packets: { perSecond: 100 } } }),
      object('a', {
        denied: ['192.0.2.0/24', '198.51.100.0/24'],
        limits: { packets: { perSecond: 200, burst: 50 }, connections: { perSecond: 3 } },
      }),
    ],
    {},
  );
  assert.deepEqual(protection, {
    objects: ['a', 'b'],
    denied: ['192.0.2.0/24', '198.51.100.0/24', '2001:db8::/32'],
    packets: { perSecond: 100, burst: 50 },
    connections: { perSecond: 3, burst: 3 },
  });
});

test('the order of objects says nothing', () => {
  const specs = fc.record(
    {
      denied: fc.array(fc.constantFrom('192.0.2.0/24', '10.0.0.0/8', '::/0')),
      limits: fc.record(
        { packets: fc.record({ perSecond: fc.integer({ min: 1, max: 9 }) }) },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(specs, { maxLength: 5 }), (list) => {
      const objects = list.map((spec, i) => object(`o${i}`, spec));
      assert.deepEqual(protectionOf(objects.toReversed(), {}), protectionOf(objects, {}));
    }),
  );
});

test('nodes are selected by their labels, and an object that selects this one no more protects it no more', () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setProtection(object('edge', { nodeSelector: { matchLabels: { edge: 'yes' } }, denied: ['::/0'] }));
  plan.setNode(node({}));
  plan.update();
  assert.equal(plan.state.protection.size, 0);
  plan.setNode(node({ edge: 'yes' }));
  assert.deepEqual(
    plan.update().map(({ table }) => table),
    ['protection'],
  );
  assert.deepEqual(plan.state.protection.get('node')?.denied, ['::/0']);
  plan.setNode(node({ edge: 'no' }));
  assert.deepEqual(plan.update(), [{ table: 'protection', key: 'node', value: undefined }]);
  plan.setProtection(object('edge', { denied: ['::/0'] }));
  plan.update();
  plan.removeProtection('edge');
  plan.update();
  assert.equal(plan.state.protection.size, 0);
});

test('a backend that cannot is named, by object and field', () => {
  const plan = createPlan({ node: 'node-1' });
  plan.setProtection(object('edge', { denied: ['::/0'], limits: { packets: { perSecond: 1 } } }));
  plan.update();
  const capabilities = { families: [4], policy: true, cutsEstablished: true, sessionAffinity: true } as const;
  assert.deepEqual(plan.problems({ name: 'plain', capabilities }), [
    {
      object: 'UplinkProtection edge',
      field: 'spec.denied',
      message: 'the plain backend cannot deny ranges: everybody is heard',
    },
    {
      object: 'UplinkProtection edge',
      field: 'spec.limits',
      message: 'the plain backend cannot limit sources: as much is heard as comes',
    },
  ]);
  const protection = { denied: true, limits: true };
  assert.deepEqual(plan.problems({ name: 'able', capabilities: { ...capabilities, protection } }), []);
});
