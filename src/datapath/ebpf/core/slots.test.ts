import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createSlots } from './slots.ts';
import { fakeMap } from './testing/fake-map.ts';

const SIZE = 9;

function setUp() {
  const slots = fakeMap('rule_slots', 4, 4);
  const zeroed: number[] = [];
  const counters = {
    maxEntries: SIZE,
    valueSize: 16,
    update(key: Uint8Array) {
      zeroed.push(new DataView(key.buffer, key.byteOffset).getUint32(0, true));
      return true;
    },
  };
  return { slots, counters, zeroed, made: createSlots({ slots, counters }) };
}

const inKernel = ({ rows }: ReturnType<typeof fakeMap>): [number, number][] =>
  [...rows.values()].map(([rule, slot]) => [
    new DataView(rule.buffer, rule.byteOffset).getUint32(0, true),
    new DataView(slot.buffer, slot.byteOffset).getUint32(0, true),
  ]);

const rulesMap = (rules: readonly number[]) => new Map(rules.map((number) => [String(number), { number }]));
const rule = fc.integer({ min: 0, max: 14 });
const step = fc.oneof(
  fc.record({ kind: fc.constant('take'), rules: fc.array(rule, { maxLength: 5 }) }),
  fc.record({ kind: fc.constant('release'), rules: fc.array(rule, { maxLength: 5 }) }),
  fc.record({ kind: fc.constant('keep'), rules: fc.array(rule, { maxLength: 5 }) }),
  fc.record({ kind: fc.constant('restart'), rules: fc.constant<number[]>([]) }),
);

test('a rule has a slot of its own while it is there, and the kernel knows it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { slots, counters, made } = setUp();
      let current = made;
      const model = new Set<number>();
      for (const { kind, rules } of steps) {
        const before = new Map([...model].map((each) => [each, current.of(each)]));
        if (kind === 'take') {
          const wanted = new Set([...model, ...rules.filter((each) => each !== 0)]);
          if (wanted.size > SIZE - 1) {
            assert.throws(() => current.take(rules), { code: 'BpfMapFull' });
            assert.ok(rules.every((each) => model.has(each) || current.of(each) === 0));
          } else {
            current.take(rules);
            for (const each of wanted) model.add(each);
          }
        } else if (kind === 'release') {
          current.release(rules);
          for (const each of rules) model.delete(each);
        } else if (kind === 'keep') {
          current.keep(rulesMap(rules));
          for (const each of model) if (!rules.includes(each)) model.delete(each);
        } else {
          current = createSlots({ slots, counters });
          current.load();
        }
        const given = [...model].map((each) => current.of(each));
        assert.equal(new Set(given).size, model.size, 'two rules with one slot');
        assert.ok(given.every((slot) => slot >= 1 && slot < SIZE));
        for (const each of model) if (before.has(each)) assert.equal(current.of(each), before.get(each));
        assert.deepEqual(
          inKernel(slots).sort((a, b) => a[0] - b[0]),
          [...model].sort((a, b) => a - b).map((each) => [each, current.of(each)]),
        );
      }
    }),
    { numRuns: 300 },
  );
});

test('counters of a slot begin at 0 each time that it is given', () => {
  const { made, zeroed } = setUp();
  made.take([7, 8]);
  made.release([7]);
  made.take([8, 9]);
  assert.equal(made.of(9), zeroed[0]);
  assert.deepEqual(zeroed, [1, 2, 1]);
});
