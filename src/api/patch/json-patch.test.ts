import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Json } from '../../lib/json.ts';
import { jsonPatch } from './json-patch.ts';
import { PatchError } from './patch-error.ts';

const good: [string, Json, Json, Json][] = [
  [
    'A.1 adding a member',
    { foo: 'bar' },
    [{ op: 'add', path: '/baz', value: 'qux' }],
    { baz: 'qux', foo: 'bar' },
  ],
  [
    'A.2 adding an item',
    { foo: ['bar', 'baz'] },
    [{ op: 'add', path: '/foo/1', value: 'qux' }],
    { foo: ['bar', 'qux', 'baz'] },
  ],
  ['A.3 removing a member', { baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
  [
    'A.4 removing an item',
    { foo: ['bar', 'qux', 'baz'] },
    [{ op: 'remove', path: '/foo/1' }],
    { foo: ['bar', 'baz'] },
  ],
  [
    'A.5 replacing',
    { baz: 'qux', foo: 'bar' },
    [{ op: 'replace', path: '/baz', value: 'boo' }],
    { baz: 'boo', foo: 'bar' },
  ],
  [
    'A.6 moving a value',
    { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
    [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
    { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
  ],
  [
    'A.7 moving an item',
    { foo: ['all', 'grass', 'cows', 'eat'] },
    [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
    { foo: ['all', 'cows', 'eat', 'grass'] },
  ],
  [
    'A.8 testing',
    { baz: 'qux', foo: ['a', 2, 'c'] },
    [
      { op: 'test', path: '/baz', value: 'qux' },
      { op: 'test', path: '/foo/1', value: 2 },
    ],
    { baz: 'qux', foo: ['a', 2, 'c'] },
  ],
  [
    'A.10 adding a nested object',
    { foo: 'bar' },
    [{ op: 'add', path: '/child', value: { grandchild: {} } }],
    { foo: 'bar', child: { grandchild: {} } },
  ],
  [
    'A.11 unknown members are ignored',
    { foo: 'bar' },
    [{ op: 'add', path: '/baz', value: 'qux', xyz: 123 }],
    { foo: 'bar', baz: 'qux' },
  ],
  ['A.14 ~ escapes', { '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
  [
    'A.16 adding a list',
    { foo: ['bar'] },
    [{ op: 'add', path: '/foo/-', value: ['abc', 'def'] }],
    { foo: ['bar', ['abc', 'def']] },
  ],
  ['the whole document', { a: 1 }, [{ op: 'replace', path: '', value: [] }], []],
  [
    'copying',
    { a: { b: 1 } },
    [
      { op: 'copy', from: '/a', path: '/c' },
      { op: 'add', path: '/c/b', value: 2 },
    ],
    { a: { b: 1 }, c: { b: 2 } },
  ],
  ['the empty name', { '': 1 }, [{ op: 'remove', path: '/' }], {}],
];
for (const [name, document, patch, expected] of good)
  test(`RFC 6902: ${name}`, () => assert.deepEqual(jsonPatch(document, patch), expected));

const bad: [string, Json, Json, 'malformed' | 'unfit'][] = [
  ['A.9 a test that fails', { baz: 'qux' }, [{ op: 'test', path: '/baz', value: 'bar' }], 'unfit'],
  ['A.12 no place to add to', { foo: 'bar' }, [{ op: 'add', path: '/baz/bat', value: 'qux' }], 'unfit'],
  ['A.13 no such operation', { foo: 'bar' }, [{ op: 'spam', path: '/baz' }], 'malformed'],
  ['A.15 a text is not a number', { '~1': 10 }, [{ op: 'test', path: '/~01', value: '10' }], 'unfit'],
  ['an index beyond the end', { a: [1] }, [{ op: 'add', path: '/a/2', value: 1 }], 'unfit'],
  ['an index with a leading zero', { a: [1, 2] }, [{ op: 'remove', path: '/a/01' }], 'unfit'],
  ['the place after the last holds nothing', { a: [1] }, [{ op: 'remove', path: '/a/-' }], 'unfit'],
  ['a pointer without /', {}, [{ op: 'add', path: 'a', value: 1 }], 'malformed'],
  ['a bad escape', {}, [{ op: 'add', path: '/a~2', value: 1 }], 'malformed'],
  ['a move into itself', { a: { b: {} } }, [{ op: 'move', from: '/a', path: '/a/b' }], 'unfit'],
  ['no value', {}, [{ op: 'add', path: '/a' }], 'malformed'],
  ['no list', {}, { op: 'add' }, 'malformed'],
  [
    'the prototype is not a member',
    {},
    [{ op: 'test', path: '/constructor/name', value: 'Object' }],
    'unfit',
  ],
];
for (const [name, document, patch, why] of bad)
  test(`refused: ${name}`, () =>
    assert.throws(
      () => jsonPatch(document, patch),
      (error) => error instanceof PatchError && error.why === why,
    ));

test('a patch that fails half-way leaves the document as it was', () => {
  const document = { a: [1, 2] };
  assert.throws(
    () =>
      jsonPatch(document, [
        { op: 'remove', path: '/a/0' },
        { op: 'remove', path: '/b' },
      ]),
    PatchError,
  );
  assert.deepEqual(document, { a: [1, 2] });
});

test('whatever the patch, the answer is a document or a PatchError', () => {
  const pointer = fc.constantFrom('', '/', '/a', '/a/0', '/a/-', '/a/b', '/__proto__', '/a~1', '~', '/b/c/d');
  const operation = fc.record(
    {
      op: fc.constantFrom('add', 'remove', 'replace', 'move', 'copy', 'test', 'x'),
      path: fc.oneof(pointer, fc.integer()),
      from: pointer,
      value: fc.jsonValue(),
    },
    { requiredKeys: ['op'] },
  );
  fc.assert(
    fc.property(fc.jsonValue(), fc.array(operation, { maxLength: 6 }), (document, patch) => {
      const before = JSON.stringify(document);
      try {
        JSON.stringify(jsonPatch(document as Json, patch as unknown as Json));
      } catch (error) {
        assert.ok(error instanceof PatchError, String(error));
      }
      assert.equal(JSON.stringify(document), before);
      assert.equal(Object.keys(Object.prototype).length, 0);
    }),
    { numRuns: 500 },
  );
});
