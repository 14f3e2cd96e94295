import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson, clone, sameJson } from './json.ts';

const json = fc.jsonValue({ maxDepth: 3 });

/** The same value with the members of every object in another order and an undefined one beside them. */
function shuffled(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(shuffled);
  const members = Object.entries(value).map(([key, member]) => [key, shuffled(member)] as const);
  return Object.fromEntries([['\0absent', undefined], ...members.toReversed()]);
}

test('a value equals its copy, whatever the order of members', () => {
  fc.assert(
    fc.property(json, (value) => {
      assert.ok(sameJson(clone(value), shuffled(value)));
      assert.equal(canonicalJson(clone(value)), canonicalJson(shuffled(value)));
    }),
  );
});

test('values are equal if and only if their canonical texts are', () => {
  const few = fc.jsonValue({ maxDepth: 1 });
  fc.assert(
    fc.property(few, few, (a, b) => {
      assert.equal(sameJson(a, b), canonicalJson(a) === canonicalJson(b));
      assert.equal(sameJson({ a, b }, { a }), false);
      assert.equal(sameJson([a], [a, b]), false);
    }),
  );
});

test('a list is no object and null is no absence', () => {
  assert.ok(!sameJson([], {}));
  assert.ok(!sameJson({ a: null }, {}));
  assert.ok(sameJson({ a: undefined }, {}));
  assert.ok(!sameJson({ a: 1, b: undefined }, { b: 1 }));
});

test('a member named __proto__ is copied like any other', () => {
  const value = JSON.parse('{"__proto__": {"admin": true}}') as object;
  assert.deepEqual(Object.keys(clone(value)), ['__proto__']);
  assert.equal((clone(value) as { admin?: boolean }).admin, undefined);
});
