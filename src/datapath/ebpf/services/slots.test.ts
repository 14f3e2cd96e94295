import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BackendAddress, BalanceAlgorithm } from '../../plan/tables.ts';
import { hashText } from './hash.ts';
import { type Member, maglevTable, tableSize } from './maglev.ts';
import { ringTable } from './ring.ts';
import { slotsOf } from './slots.ts';
import { weightedTable } from './weighted.ts';

const members = (count: number, weight: (i: number) => number = () => 1): Member[] =>
  Array.from({ length: count }, (_, i) => ({ name: `10.${i >> 8}.${i & 255}.7|80`, weight: weight(i) }));

const counts = (table: Uint32Array, size: number): number[] => {
  const seen = Array.from({ length: size }, () => 0);
  for (const slot of table) seen[slot] = (seen[slot] ?? 0) + 1;
  return seen;
};

/** Share of the slots of members other than `gone` that changed hands. */
function moved(
  make: (m: readonly Member[], size: number) => Uint32Array,
  all: readonly Member[],
  gone: number,
): number {
  const rest = all.filter((_, i) => i !== gone);
  const size = tableSize(all.length);
  const before = make(all, size);
  const after = make(rest, size);
  let others = 0;
  let changed = 0;
  for (const [slot, owner] of before.entries()) {
    if (owner === gone) continue;
    others++;
    if (all[owner]?.name !== rest[after[slot] ?? 0]?.name) changed++;
  }
  return changed / others;
}

test('Maglev: of 100 backends one removed moves at most 2 % of the others', () => {
  const all = members(100);
  for (let gone = 0; gone < 100; gone++) {
    const share = moved(maglevTable, all, gone);
    assert.ok(share <= 0.02, `${gone}: ${share}`);
  }
});

test('Maglev: shares are within 2 % of each other up to 1,000 backends, and exact to one slot', () => {
  for (const count of [2, 3, 10, 99, 100, 1000]) {
    const table = maglevTable(members(count));
    const shares = counts(table, count);
    const [least, most] = [Math.min(...shares), Math.max(...shares)];
    assert.ok(most - least <= 1, `${count}: ${least} to ${most}`);
    assert.ok(most / (table.length / count) <= 1.02 && least / (table.length / count) >= 0.98, String(count));
  }
});

const someMembers = fc
  .uniqueArray(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 40 })
  .chain((ids) =>
    fc
      .array(fc.integer({ min: 1, max: 9 }), { minLength: ids.length, maxLength: ids.length })
      .map((weights) =>
        ids.map((id, i): Member => ({ name: `10.0.${id >> 8}.${id & 255}|80`, weight: weights[i] ?? 1 })),
      ),
  );

test('Maglev and ring: what a slot holds does not depend on the order of the backends', () => {
  fc.assert(
    fc.property(someMembers, fc.integer(), (all, seed) => {
      const shuffled = all.toSorted((a, b) => hashText(a.name, seed) - hashText(b.name, seed));
      for (const make of [maglevTable, ringTable]) {
        const names = Array.from(make(all), (slot) => all[slot]?.name);
        assert.deepEqual(
          Array.from(make(shuffled), (slot) => shuffled[slot]?.name),
          names,
        );
      }
    }),
    { numRuns: 40 },
  );
});

test('Maglev: shares follow weights to within one slot of the exact share and one for each round', () => {
  fc.assert(
    fc.property(someMembers, (all) => {
      const table = maglevTable(all);
      const total = all.reduce((sum, { weight }) => sum + weight, 0);
      for (const [i, share] of counts(table, all.length).entries()) {
        const exact = (table.length * (all[i]?.weight ?? 1)) / total;
        assert.ok(Math.abs(share - exact) <= 2, `${share} for ${exact}`);
      }
    }),
    { numRuns: 60 },
  );
});

test('ring: one that goes moves nobody else', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 60 }).chain((count) => fc.tuple(fc.constant(count), fc.nat(count - 1))),
      ([count, gone]) => assert.equal(moved(ringTable, members(count), gone), 0),
    ),
    { numRuns: 40 },
  );
});

test('ring: nobody has more than twice or less than half of the mean', () => {
  for (const count of [2, 10, 100]) {
    const table = ringTable(members(count));
    for (const share of counts(table, count)) {
      const relative = (share * count) / table.length;
      assert.ok(relative > 0.5 && relative < 2, `${relative} of ${count}`);
    }
  }
});

test('weights: everybody has slots as the weights say, spread out, in the fewest slots', () => {
  assert.deepEqual([...weightedTable([1, 1, 1])], [0, 1, 2]);
  assert.deepEqual([...weightedTable([100, 100])], [0, 1]);
  assert.deepEqual([...weightedTable([4, 2])], [0, 1, 0]);
  assert.deepEqual([...weightedTable([5, 1, 1])], [0, 0, 1, 0, 2, 0, 0]);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 65535 }), { minLength: 1, maxLength: 50 }), (weights) => {
      const table = weightedTable(weights);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      assert.ok(table.length <= 1024 + weights.length);
      for (const [i, share] of counts(table, weights.length).entries()) {
        assert.ok(share >= 1, 'nobody is left out');
        assert.ok(Math.abs(share / table.length - (weights[i] ?? 0) / total) < 0.06);
      }
    }),
  );
});

test('draining backends have no slot, whatever the algorithm; indexes are those of the list', () => {
  const algorithms: BalanceAlgorithm[] = [
    'random',
    'round-robin',
    'least-connection',
    'maglev',
    'ring-hash',
    'source-hash',
  ];
  const lists = fc.uniqueArray(
    fc.record({
      address: fc.nat(255).map((n) => `10.0.0.${n}`),
      port: fc.constant(80),
      weight: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
    }),
    { selector: ({ address }) => address, maxLength: 12 },
  );
  fc.assert(
    fc.property(fc.constantFrom(...algorithms), lists, (algorithm, list) => {
      const backends = list.map(
        ({ weight, ...rest }): BackendAddress => (weight === undefined ? rest : { ...rest, weight }),
      );
      const used = new Set(slotsOf(algorithm, backends));
      const serving = backends.flatMap(({ weight }, i) => (weight === 0 ? [] : [i]));
      assert.deepEqual(
        [...used].toSorted((a, b) => a - b),
        serving,
      );
    }),
    { numRuns: 200 },
  );
});
