import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { podRequests } from './pod-requests.ts';
import { amountQuantity, binaryQuantity } from './quantity.ts';
import type { Pod } from './types.ts';

type Spec = NonNullable<Pod['spec']>;
let serial = 0;
const asks = (requests: Record<string, string | number>, more: object = {}) =>
  ({ name: `c${serial++}`, image: 'i', resources: { requests }, ...more }) as Spec['containers'][number];
const sidecar = (requests: Record<string, string | number>) => asks(requests, { restartPolicy: 'Always' });
const sum = (spec: Partial<Spec>) => Object.fromEntries(podRequests({ spec: { containers: [], ...spec } }));

const cases: readonly (readonly [string, Partial<Spec>, Record<string, number>])[] = [
  ['nothing', { containers: [{ name: 'c', image: 'i' }] }, {}],
  ['zero is nothing', { containers: [asks({ cpu: '0', memory: 0 })] }, {}],
  [
    'containers together',
    { containers: [asks({ cpu: '100m', memory: '64Mi' }), asks({ cpu: '0.2', 'example.com/gpu': 2 })] },
    { cpu: 300, memory: 64 * 2 ** 20, 'example.com/gpu': 2 },
  ],
  [
    'a larger init container',
    { initContainers: [asks({ cpu: 3 }), asks({ cpu: 1 })], containers: [asks({ cpu: 2 })] },
    { cpu: 3000 },
  ],
  ['a smaller one', { initContainers: [asks({ cpu: 1 })], containers: [asks({ cpu: 2 })] }, { cpu: 2000 }],
  [
    'sidecars beside the containers',
    { initContainers: [sidecar({ cpu: 1 }), asks({ cpu: 1 })], containers: [asks({ cpu: 2 })] },
    { cpu: 3000 },
  ],
  [
    'sidecars beside the init containers after them alone',
    {
      initContainers: [asks({ cpu: 4 }), sidecar({ cpu: 1 }), asks({ cpu: 4 })],
      containers: [asks({ cpu: 2 })],
    },
    { cpu: 5000 },
  ],
  [
    'overhead',
    { containers: [asks({ cpu: 1 })], overhead: { cpu: '250m', memory: '1Mi' } },
    { cpu: 1250, memory: 2 ** 20 },
  ],
  [
    'the pod as a whole',
    { containers: [asks({ cpu: 1, memory: 5 })], resources: { requests: { cpu: 4 } } },
    { cpu: 4000, memory: 5 },
  ],
  [
    'limits of the pod as a whole stand for what nobody requests',
    { containers: [asks({ cpu: 1 })], resources: { limits: { cpu: 4, memory: 7 } } },
    { cpu: 1000, memory: 7 },
  ],
  [
    'fractions are rounded up',
    { containers: [asks({ cpu: '0.0001', memory: '0.5' })] },
    { cpu: 1, memory: 1 },
  ],
];

for (const [name, spec, expected] of cases)
  test(`a pod’s requests: ${name}`, () => assert.deepEqual(sum(spec), expected));

test('tenths of processors add up exactly', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 999 }), (count, milli) => {
      const containers = Array.from({ length: count }, () => asks({ cpu: String(milli / 1000) }));
      assert.equal(sum({ containers })['cpu'], count * milli);
    }),
  );
});

test('amounts are written as quantities', () => {
  assert.deepEqual(
    [2000, 1500, 1, 0].map((one) => amountQuantity('cpu', one)),
    ['2', '1500m', '1m', '0'],
  );
  assert.deepEqual([0, 1000, 1024, 1536, 3 << 20, 10 * 2 ** 30].map(binaryQuantity), [
    '0',
    '1000',
    '1Ki',
    '1536',
    '3Mi',
    '10Gi',
  ]);
  assert.equal(amountQuantity('memory', 4 * 2 ** 30), '4Gi');
  assert.equal(amountQuantity('pods', 1024), '1024');
});
