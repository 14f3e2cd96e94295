import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHeld, edits } from './held.ts';

const likeness = {
  idOf: ([id]: readonly [string, number]) => id,
  equal: (a: readonly [string, number], b: readonly [string, number]) => a[1] === b[1],
};

/** A value is its name's alone: groups that need one object say the same of it. */
const object = fc.constantFrom('a', 'b', 'c', 'd').map((id) => [id, id.charCodeAt(0)] as const);
const steps = fc.array(
  fc.array(fc.record({ group: fc.constantFrom('x', 'y', 'z'), objects: fc.array(object) })),
  { maxLength: 6 },
);

test('what is held is what the groups need, and edits are the way there from the last time', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const held = createHeld<readonly [string, number]>(likeness);
      const groups = new Map<string, readonly (readonly [string, number])[]>();
      for (const step of list) {
        const before = held.objects();
        for (const { group, objects } of step) {
          held.replace(group, objects);
          groups.set(group, objects);
        }
        const wanted = new Map([...groups.values()].flat().map((each) => [each[0], each]));
        assert.deepEqual(held.objects(), wanted);
        for (const id of ['a', 'b', 'c', 'd']) assert.deepEqual(held.find(id), wanted.get(id));
        const asSet = (changes: readonly unknown[]) => new Set(changes.map((each) => JSON.stringify(each)));
        assert.deepEqual(asSet(held.edits()), asSet(edits(likeness, before, held.objects())));
        assert.deepEqual(held.edits(), []);
      }
    }),
  );
});

test('an object that changes is one edit, with both sides', () => {
  const held = createHeld<readonly [string, number]>(likeness);
  held.replace('x', [['a', 1]]);
  held.edits();
  held.replace('x', [['a', 2]]);
  assert.deepEqual(held.edits(), [{ before: ['a', 1], after: ['a', 2] }]);
  held.replace('x', []);
  held.replace('x', [['a', 2]]);
  assert.deepEqual(held.edits(), []);
});
