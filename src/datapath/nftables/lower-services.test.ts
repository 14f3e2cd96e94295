import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  applyChanges,
  type BackendAddress,
  emptyState,
  frontendKey,
  type ServiceFrontend,
} from '../plan/tables.ts';
import { commandsFor } from './diff.ts';
import { duration } from './lower-affinity.ts';
import { createMirror } from './mirror.ts';
import { hashSlots, slotList, weightOf } from './weights.ts';

const backend = (n: number, weight?: number): BackendAddress => ({
  address: `10.244.${n >> 8}.${n & 255}`,
  port: 8080,
  ...(weight === undefined ? {} : { weight }),
});

const frontend = (more: Partial<ServiceFrontend>): ServiceFrontend => ({
  service: 'x/s',
  kind: 'LoadBalancer',
  address: '203.0.113.1',
  protocol: 'TCP',
  port: 80,
  backends: [backend(2), backend(3), backend(4)],
  whenEmpty: 'refuse',
  algorithm: 'random',
  forwarding: 'snat',
  ...more,
});

const changeTo = (value: ServiceFrontend) => ({ table: 'services', key: frontendKey(value), value }) as const;

/** Lines and elements of the transaction that turns one frontend into the other. */
function between(before: ServiceFrontend, after: ServiceFrontend): string[] {
  const state = emptyState();
  applyChanges(state, [changeTo(before)]);
  return commandsFor(createMirror(state, new Map()).update([changeTo(after)]), 'inet heddle');
}

test('of one backend less only its own slot and that of the last change', () => {
  const commands = between(frontend({}), frontend({ backends: [backend(2), backend(4)] }));
  const elements = commands.filter((line) => line.includes(' element '));
  assert.deepEqual(elements, [
    'delete element inet heddle backends4 { 203.0.113.1 . tcp . 80 . 0x00000001, 203.0.113.1 . tcp . 80 . 0x00000002 }',
    'delete element inet heddle services4 { 203.0.113.1 . tcp . 80 }',
    'add element inet heddle backends4 { 203.0.113.1 . tcp . 80 . 0x00000001 : 10.244.0.4 . 8080 }',
    'add element inet heddle services4 { 203.0.113.1 . tcp . 80 : goto balance4-2 }',
  ]);
});

test('clients outside have slots of their own where a Local policy gives them others', () => {
  const commands = between(frontend({}), frontend({ externalBackends: [backend(3)] }));
  assert.deepEqual(
    commands.filter((line) => line.includes(' element ')),
    [
      'add element inet heddle backends4 { 203.0.113.1 . tcp . 80 . 0x00010000 : 10.244.0.3 . 8080 }',
      'add element inet heddle outside4 { 203.0.113.1 . tcp . 80 : goto balance4-1-outside }',
    ],
  );
});

test('nothing is said twice where clients outside have the same backends', () => {
  assert.deepEqual(between(frontend({}), frontend({ externalBackends: frontend({}).backends })), []);
});

const weighted = fc.uniqueArray(fc.tuple(fc.nat(900), fc.integer({ min: 0, max: 65_535 })), {
  minLength: 1,
  maxLength: 40,
  selector: ([n]) => n,
});

test('slots are shared by weight as nearly as they can, and who drains has none', () => {
  fc.assert(
    fc.property(weighted, (list) => {
      const backends = list.map(([n, weight]) => backend(n, weight));
      const slots = slotList(backends);
      const open = backends.filter((each) => weightOf(each) > 0);
      const total = open.reduce((sum, each) => sum + weightOf(each), 0);
      assert.deepEqual(new Set(slots), new Set(open));
      assert.ok(slots.length <= 256 + open.length);
      for (const each of open) {
        const have = slots.filter((slot) => slot === each).length;
        const share = (weightOf(each) / total) * Math.min(256, slots.length);
        assert.ok(Math.abs(have - share) <= Math.max(1, share * 0.2), `${have} of ${share}`);
      }
    }),
  );
});

test('equal weights have one slot each', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(900)), fc.integer({ min: 1, max: 65_535 }), (list, weight) => {
      assert.equal(slotList(list.map((n) => backend(n, weight))).length, list.length);
    }),
  );
});

test('hashed slots are full, shared by weight, and few move when a backend goes', () => {
  for (const count of [1, 2, 3, 10, 50, 100]) {
    const backends = Array.from({ length: count }, (_, i) => backend(i + 2));
    const slots = hashSlots(backends);
    for (const each of backends) {
      const have = slots.filter((slot) => slot === each).length;
      const fair = slots.length / count;
      assert.ok(have >= Math.floor(fair) - 1 && have <= Math.ceil(fair) + 1, `${have} of ${fair}`);
    }
    if (count === 1) continue;
    const [gone, ...rest] = backends;
    const after = hashSlots(rest);
    if (after.length !== slots.length) continue;
    const moved = slots.filter((slot, i) => slot !== gone && slot !== after[i]).length;
    assert.ok(moved <= slots.length * 0.2, `${moved} of ${slots.length}`);
  }
  const [light, heavy] = [backend(2, 1), backend(3, 3)];
  const slots = hashSlots([light, heavy, backend(4, 0)]);
  assert.ok(Math.abs(slots.filter((slot) => slot === heavy).length / slots.length - 0.75) < 0.05);
  assert.deepEqual(hashSlots([]), []);
});

for (const [seconds, text] of [
  [1, '1s'],
  [60, '1m'],
  [3661, '1h1m1s'],
  [10_800, '3h'],
  [86_400, '1d'],
] as const)
  test(`${seconds} seconds are written ${text}`, () => assert.equal(duration(seconds), text));
