import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { DEPLOYMENT, POD, SERVICE } from '../kinds.ts';
import { threeWayMerge } from './three-way.ts';

test('what the manifest dropped goes, what others set stays', () => {
  const last = {
    metadata: { labels: { a: '1', b: '2' } },
    spec: { containers: [{ name: 'a', image: '1' }, { name: 'gone' }] },
  };
  const now = { metadata: { labels: { a: '1' } }, spec: { containers: [{ name: 'a', image: '2' }] } };
  const live = {
    metadata: { labels: { a: '1', b: '2', theirs: 'x' }, uid: 'u' },
    spec: {
      nodeName: 'n',
      containers: [{ name: 'a', image: '1', resources: {} }, { name: 'gone' }, { name: 'injected' }],
    },
  };
  assert.deepEqual(threeWayMerge(POD, last, now, live), {
    metadata: { labels: { a: '1', theirs: 'x' }, uid: 'u' },
    spec: { nodeName: 'n', containers: [{ name: 'a', image: '2', resources: {} }, { name: 'injected' }] },
  });
});

test('an object that was never applied keeps all that the manifest does not say', () => {
  assert.deepEqual(
    threeWayMerge(POD, undefined, { spec: { hostname: 'h' } }, { spec: { hostname: 'x', nodeName: 'n' } }),
    {
      spec: { hostname: 'h', nodeName: 'n' },
    },
  );
});

test('fields that exclude each other do not stay side by side', () => {
  const live = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%' } } } };
  const now = { spec: { strategy: { type: 'Recreate' } } };
  assert.deepEqual(threeWayMerge(DEPLOYMENT, {}, now, live), now);
  const volumes = (source: object) => ({ spec: { volumes: [{ name: 'v', ...source }] } });
  assert.deepEqual(
    threeWayMerge(
      POD,
      volumes({ emptyDir: {} }),
      volumes({ configMap: { name: 'c' } }),
      volumes({ emptyDir: {} }),
    ),
    volumes({ configMap: { name: 'c' } }),
  );
});

test('ports of one number and two protocols are told apart, whether or not TCP is written', () => {
  const live = {
    spec: {
      ports: [
        { port: 53, protocol: 'UDP', name: 'udp', nodePort: 1 },
        { port: 53, protocol: 'TCP', name: 'tcp', nodePort: 2 },
      ],
    },
  };
  const manifest = {
    spec: {
      ports: [
        { port: 53, name: 'tcp' },
        { port: 53, protocol: 'UDP', name: 'u' },
      ],
    },
  };
  const ports = threeWayMerge(SERVICE, manifest, manifest, live).spec.ports;
  assert.deepEqual(
    [...ports].sort((a, b) => a.nodePort - b.nodePort),
    [
      { port: 53, protocol: 'UDP', name: 'u', nodePort: 1 },
      { port: 53, protocol: 'TCP', name: 'tcp', nodePort: 2 },
    ],
  );
});

const named = <T>(item: fc.Arbitrary<T & { name: string }>) =>
  fc.uniqueArray(item, { selector: (i) => i.name, maxLength: 4 });
const drawn = fc.record({
  metadata: fc.record({
    labels: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2'), {
      noNullPrototype: true,
    }),
  }),
  spec: fc.record({
    containers: named(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c', 'd'),
        image: fc.constantFrom('1', '2'),
        env: named(fc.record({ name: fc.constantFrom('X', 'Y', 'Z'), value: fc.constantFrom('1', '2') })),
      }),
    ),
    tolerations: fc.array(fc.record({ key: fc.constantFrom('a', 'b') }), { maxLength: 2 }),
  }),
});
// Strict equality looks at prototypes: drawn records may have none.
const manifest = drawn.map((value) => JSON.parse(JSON.stringify(value)) as typeof value);

test('where nobody else wrote, applying the second manifest gives the second manifest', () => {
  fc.assert(
    fc.property(manifest, manifest, (first, second) => {
      assert.deepEqual(threeWayMerge(POD, first, second, first), second);
      assert.deepEqual(threeWayMerge(POD, second, second, second), second);
    }),
  );
});

test('applying again changes nothing, whatever others wrote', () => {
  fc.assert(
    fc.property(manifest, manifest, manifest, (last, now, live) => {
      const once = threeWayMerge(POD, last, now, live as object);
      assert.deepEqual(threeWayMerge(POD, now, now, once), once);
    }),
  );
});
