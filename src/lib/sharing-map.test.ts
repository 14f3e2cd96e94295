import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SharingMap } from './sharing-map.ts';

const ascending = (a: number, b: number): number => a - b;
const keys = fc.oneof(fc.nat({ max: 20 }), fc.string({ maxLength: 1 }));
const steps = fc.array(
  fc.array(fc.tuple(keys, fc.option(fc.nat({ max: 3 }), { nil: undefined })), { maxLength: 8 }),
  { maxLength: 10 },
);

test('a map made by changes says what a Map says that was changed so, and leaves the former ones as they were', () => {
  fc.assert(
    fc.property(steps, (changes) => {
      const plain = new Map<string | number, number>();
      let map = SharingMap.of<string | number, number>();
      for (const step of changes) {
        const [was, before] = [map, [...map]];
        for (const [key, value] of step)
          if (value === undefined) plain.delete(key);
          else plain.set(key, value);
        map = map.with(step);
        assert.deepEqual(new Map(map), plain);
        assert.equal(map.size, plain.size);
        assert.deepEqual(new Set(map.keys()), new Set(plain.keys()));
        assert.deepEqual([...map.values()].toSorted(ascending), [...plain.values()].toSorted(ascending));
        for (const [key] of step) {
          assert.equal(map.get(key), plain.get(key));
          assert.equal(map.has(key), plain.has(key));
        }
        assert.deepEqual([...was], before);
        assert.deepEqual(new Map(was.with(was.changesTo(map))), plain);
      }
    }),
  );
});

test('changes that change nothing give the very same map', () => {
  const map = SharingMap.of<string, number>([['a', 1]]);
  assert.equal(
    map.with([
      ['a', 1],
      ['b', undefined],
    ]),
    map,
  );
});

test('only what differs is told', () => {
  const map = SharingMap.of<string, number>(
    Array.from({ length: 10_000 }, (_, i) => [`10.0.${i >> 8}.${i & 255}/32`, i] as const),
  );
  const next = map.with([
    ['10.0.0.1/32', 7],
    ['10.0.0.2/32', undefined],
    ['::1/128', 1],
  ]);
  assert.deepEqual(
    new Map(map.changesTo(next)),
    new Map([
      ['10.0.0.1/32', 7],
      ['10.0.0.2/32', undefined],
      ['::1/128', 1],
    ]),
  );
});
