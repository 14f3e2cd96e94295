import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Json } from '../../lib/json.ts';
import { CONFIG_MAP, DEPLOYMENT, POD, SERVICE } from '../kinds.ts';
import { mergePatch } from './merge-patch.ts';
import { PatchError } from './patch-error.ts';
import { strategicMerge } from './strategic-merge.ts';

const pod = (spec: object) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec });
const specOf = (before: object, patch: object) =>
  strategicMerge(POD, pod(before), { spec: patch }).spec as Record<string, unknown>;

test('containers are merged by name, their environment by name', () => {
  const before = {
    containers: [
      { name: 'a', image: '1', env: [{ name: 'X', value: '1' }] },
      { name: 'b', image: '1' },
    ],
  };
  assert.deepEqual(
    specOf(before, {
      containers: [
        { name: 'a', image: '2', env: [{ name: 'Y', value: '2' }] },
        { name: 'c', image: '3' },
      ],
    }),
    {
      containers: [
        {
          name: 'a',
          image: '2',
          env: [
            { name: 'X', value: '1' },
            { name: 'Y', value: '2' },
          ],
        },
        { name: 'b', image: '1' },
        { name: 'c', image: '3' },
      ],
    },
  );
});

test('$patch: delete takes an item out; $patch: replace takes the whole list', () => {
  const before = { containers: [{ name: 'a' }, { name: 'b' }] };
  assert.deepEqual(specOf(before, { containers: [{ name: 'a', $patch: 'delete' }] }), {
    containers: [{ name: 'b' }],
  });
  assert.deepEqual(specOf(before, { containers: [{ $patch: 'replace' }, { name: 'c' }] }), {
    containers: [{ name: 'c' }],
  });
  assert.deepEqual(specOf(before, { containers: [{ name: 'zz', $patch: 'delete' }] }), before);
});

test('$patch on objects replaces or deletes them', () => {
  const before = { nodeSelector: { a: '1', b: '2' }, containers: [] };
  assert.deepEqual(specOf(before, { nodeSelector: { $patch: 'replace', c: '3' } }), {
    nodeSelector: { c: '3' },
    containers: [],
  });
  assert.deepEqual(specOf(before, { nodeSelector: { $patch: 'delete' } }), {
    nodeSelector: {},
    containers: [],
  });
  assert.deepEqual(specOf(before, { nodeSelector: { $patch: 'merge', c: '3' } })['nodeSelector'], {
    a: '1',
    b: '2',
    c: '3',
  });
  assert.throws(() => specOf(before, { nodeSelector: { $patch: 'burn' } }), PatchError);
});

test('$setElementOrder orders what the patch names; others keep their place before what they preceded', () => {
  const before = { containers: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] };
  assert.deepEqual(
    specOf(before, {
      '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }, { name: 'new' }],
      containers: [{ name: 'new', image: 'x' }],
    }),
    { containers: [{ name: 'b' }, { name: 'c' }, { name: 'a' }, { name: 'new', image: 'x' }] },
  );
  assert.deepEqual(
    specOf(before, { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }, { name: 'c' }] }),
    {
      containers: [{ name: 'b' }, { name: 'a' }, { name: 'c' }],
    },
  );
});

test('finalizers are a set, with deletions of their own', () => {
  const before = { ...pod({}), metadata: { name: 'p', finalizers: ['x/a', 'x/b'] } };
  const patch = { metadata: { finalizers: ['x/b', 'x/c'], '$deleteFromPrimitiveList/finalizers': ['x/a'] } };
  assert.deepEqual(strategicMerge(POD, before, patch).metadata.finalizers, ['x/b', 'x/c']);
});

test('$retainKeys drops what it does not name', () => {
  const before = { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
  assert.deepEqual(
    strategicMerge(DEPLOYMENT, before, { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } }),
    {
      spec: { strategy: { type: 'Recreate' } },
    },
  );
  assert.throws(
    () => strategicMerge(DEPLOYMENT, before, { spec: { strategy: { $retainKeys: [], type: 'Recreate' } } }),
    PatchError,
  );
});

test('lists without a rule are replaced; null deletes', () => {
  const before = {
    tolerations: [{ key: 'a' }],
    nodeName: 'n',
    containers: [{ name: 'a', args: ['1', '2'] }],
  };
  assert.deepEqual(
    specOf(before, { tolerations: [{ key: 'b' }], nodeName: null, containers: [{ name: 'a', args: ['3'] }] }),
    {
      tolerations: [{ key: 'b' }],
      containers: [{ name: 'a', args: ['3'] }],
    },
  );
});

test('one port number of two protocols stays two ports', () => {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];
  const service = { spec: { ports } };
  const order = [{ port: 53 }, { port: 53 }];
  const changed = strategicMerge(SERVICE, service, {
    spec: { '$setElementOrder/ports': order, ports: [{ name: 'tcp', port: 53, protocol: 'TCP' }] },
  });
  assert.deepEqual(changed.spec.ports, [ports[0], { name: 'tcp', port: 53, protocol: 'TCP' }]);
  const added = strategicMerge(
    { ...SERVICE },
    { spec: { ports: [ports[0]] } },
    {
      spec: { '$setElementOrder/ports': order, ports: [ports[1]] },
    },
  );
  assert.deepEqual(added.spec.ports, ports);
});

test('an item without its key is refused with the path', () => {
  assert.throws(
    () => specOf({ containers: [{ name: 'a' }] }, { containers: [{ image: 'x' }] }),
    /spec\.containers.*"name"/,
  );
  assert.throws(() => strategicMerge(POD, pod({}), []), PatchError);
});

test('without keyed lists it is JSON merge patch', () => {
  const data = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.string());
  fc.assert(
    fc.property(
      data,
      fc.dictionary(fc.constantFrom('a', 'b', 'd'), fc.option(fc.string())),
      (now, change) => {
        const object = { metadata: { name: 'm' }, data: now };
        const patch = { data: change };
        assert.deepEqual(strategicMerge(CONFIG_MAP, object, patch), mergePatch(object, patch as Json));
      },
    ),
  );
});

test('merging twice changes nothing more, and the original is not changed', () => {
  const container = fc.record(
    {
      name: fc.constantFrom('a', 'b', 'c'),
      image: fc.option(fc.string()),
      env: fc.uniqueArray(fc.record({ name: fc.constantFrom('X', 'Y'), value: fc.string() }), {
        selector: (e) => e.name,
      }),
    },
    { requiredKeys: ['name'] },
  );
  const containers = fc.uniqueArray(container, { selector: (c) => c.name });
  fc.assert(
    fc.property(containers, containers, (before, patch) => {
      const original = pod({ containers: before });
      const text = JSON.stringify(original);
      const once = strategicMerge(POD, original, { spec: { containers: patch } });
      assert.deepEqual(strategicMerge(POD, once, { spec: { containers: patch } }), once);
      assert.equal(JSON.stringify(original), text);
    }),
  );
});

test('whatever the patch, the answer is an object or a PatchError', () => {
  const key = fc.constantFrom(
    'spec',
    'metadata',
    'containers',
    'finalizers',
    '$patch',
    '$retainKeys',
    'name',
    '$setElementOrder/containers',
    '$deleteFromPrimitiveList/finalizers',
    '__proto__',
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('replace', 'delete', 'a', 1, null),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(key, tie('any'), { maxKeys: 4 }),
    ),
  })).any;
  fc.assert(
    fc.property(value, value, (a, b) => {
      const original = { metadata: { finalizers: ['a'] }, spec: { containers: [{ name: 'a' }], more: a } };
      try {
        strategicMerge(POD, original, b);
      } catch (error) {
        assert.ok(error instanceof PatchError, String((error as Error).stack));
      }
    }),
    { numRuns: 1000 },
  );
});
