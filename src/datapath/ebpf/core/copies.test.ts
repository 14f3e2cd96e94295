import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { textOf } from '../map-table.ts';
import { type CopyChange, createCopies } from './copies.ts';
import { COPIED, type CopiedMap, type CopiedRow } from './records.ts';
import { type FakeMap, fakeMap } from './testing/fake-map.ts';

/** Keys are a number and the copy. */
const COPY_AT = 1;
const change = fc.record({
  map: fc.constantFrom(...COPIED),
  key: fc.integer({ min: 0, max: 5 }),
  value: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
});
const batches = fc.array(fc.array(change, { maxLength: 8 }), { minLength: 1, maxLength: 12 });
type Drawn = { map: CopiedMap; key: number; value: number | undefined };

const toChange = ({ map, key, value }: Drawn): CopyChange => ({
  map,
  key: Uint8Array.of(key, 0),
  value: value === undefined ? undefined : Uint8Array.of(value),
});

function setUp() {
  const maps = Object.fromEntries(COPIED.map((name) => [name, fakeMap(name, 2, 1)])) as {
    [M in CopiedMap]: FakeMap;
  };
  let number = 0;
  const generation = { get: () => number, set: (value: number) => void (number = value) };
  const make = () => createCopies({ map: (name) => maps[name], copyAt: () => COPY_AT, generation });
  /** What a program reads now: `map key → value` of the copy that is valid. */
  const seen = (copy = number & 1): string[] =>
    COPIED.flatMap((name) =>
      [...maps[name].rows.values()]
        .filter(([key]) => key[COPY_AT] === copy)
        .map(([key, value]) => `${name} ${key[0]} ${value[0]}`),
    ).sort();
  return { maps, make, seen, generation };
}

const rowsOf = (model: ReadonlyMap<string, Drawn>): CopiedRow[] =>
  [...model.values()].map(({ map, key, value }) => ({
    map,
    key: Uint8Array.of(key, 0),
    value: Uint8Array.of(value ?? 0),
  }));
const textsOf = (model: ReadonlyMap<string, Drawn>): string[] =>
  [...model.values()].map(({ map, key, value }) => `${map} ${key} ${value}`).sort();

function note(model: Map<string, Drawn>, list: readonly Drawn[]): void {
  for (const each of list) {
    const name = `${each.map} ${each.key}`;
    if (each.value === undefined) model.delete(name);
    else model.set(name, each);
  }
}

test('programs see all of a change or nothing of it, at every write', () => {
  fc.assert(
    fc.property(batches, (list) => {
      const { maps, make, seen } = setUp();
      const copies = make();
      copies.prune([]);
      const model = new Map<string, Drawn>();
      let allowed: string[][] = [[]];
      for (const map of Object.values(maps))
        map.onWrite = () =>
          assert.ok(
            allowed.some((each) => textOf(Buffer.from(String(each))) === textOf(Buffer.from(String(seen())))),
            `half of a change is seen: ${seen().join(', ')}`,
          );
      for (const batch of list) {
        const before = textsOf(model);
        note(model, batch);
        allowed = [before, textsOf(model)];
        copies.apply(batch.map(toChange));
        assert.deepEqual(seen(), textsOf(model));
        assert.deepEqual(seen(0), seen(1), 'the other copy has caught up');
        assert.deepEqual(copies.verify(rowsOf(model)), []);
        assert.equal(copies.apply(batch.map(toChange)), false, 'what is there is not written again');
      }
    }),
    { numRuns: 200 },
  );
});

test('after a write that failed, prune makes both copies what they should be, and nothing is half seen', () => {
  fc.assert(
    fc.property(batches, fc.nat(12), (list, failAt) => {
      const { maps, make, seen } = setUp();
      const copies = make();
      copies.prune([]);
      const model = new Map<string, Drawn>();
      let writes = 0;
      for (const map of Object.values(maps))
        map.onWrite = () => {
          if (writes++ === failAt) throw new Error('full');
        };
      for (const batch of list) {
        const before = textsOf(model);
        note(model, batch);
        try {
          copies.apply(batch.map(toChange));
        } catch {
          const now = String(seen());
          assert.ok([String(before), String(textsOf(model))].includes(now), now);
          copies.prune(rowsOf(model));
        }
        assert.deepEqual(seen(), textsOf(model));
        assert.deepEqual(copies.verify(rowsOf(model)), []);
      }
      // As after a restart: nothing is to be done.
      assert.deepEqual(make().prune(rowsOf(model)), []);
    }),
    { numRuns: 200 },
  );
});

test('whatever is in the kernel, prune names it and mends it by differences', () => {
  fc.assert(
    fc.property(fc.array(change), fc.array(change), fc.nat(1), (there, wanted, copy) => {
      const { maps, make, seen, generation } = setUp();
      for (const { map, key, value } of there)
        maps[map].update(Uint8Array.of(key, value === undefined ? 0 : value & 1), Uint8Array.of(value ?? 9));
      generation.set(copy);
      const model = new Map<string, Drawn>();
      note(model, wanted);
      const copies = make();
      const found = copies.verify(rowsOf(model));
      assert.deepEqual(copies.prune(rowsOf(model)), found);
      for (const each of [0, 1]) assert.deepEqual(seen(each), textsOf(model));
      assert.deepEqual(copies.prune(rowsOf(model)), []);
    }),
    { numRuns: 200 },
  );
});
