import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Json } from '../../lib/json.ts';
import { createMergePatch, mergePatch } from './merge-patch.ts';

const same = (a: unknown, b: unknown) => assert.equal(JSON.stringify(a), JSON.stringify(b));

test('the examples of RFC 7396 appendix A', () => {
  const cases: [Json, Json, Json][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, expected] of cases) assert.deepEqual(mergePatch(target, patch), expected);
});

const value = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string(),
    fc.integer(),
    fc.boolean(),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(
      fc.oneof(fc.constantFrom('a', 'b', '__proto__', 'constructor'), fc.string()),
      tie('value'),
      {
        maxKeys: 4,
      },
    ),
  ),
})).value;
const object = fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), value) as fc.Arbitrary<Json>;

test('a made patch turns the one value into the other', () => {
  fc.assert(
    fc.property(object, object, (before, after) => {
      const result = mergePatch(before, createMergePatch(before, after));
      assert.deepEqual(JSON.parse(JSON.stringify(result)), JSON.parse(JSON.stringify(after)));
    }),
  );
});

test('neither argument is changed, and patching twice changes nothing more', () => {
  fc.assert(
    fc.property(object, object, (target, patch) => {
      const [a, b] = [JSON.stringify(target), JSON.stringify(patch)];
      const once = mergePatch(target, patch);
      same(mergePatch(once, patch), once);
      assert.equal(JSON.stringify(target), a);
      assert.equal(JSON.stringify(patch), b);
    }),
  );
});

test('a patch cannot reach the prototype', () => {
  const result = mergePatch({}, JSON.parse('{"__proto__":{"polluted":true}}') as Json);
  assert.equal(Object.getPrototypeOf(result), Object.prototype);
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
});
