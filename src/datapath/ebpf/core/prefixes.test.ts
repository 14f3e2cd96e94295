import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { portPrefixes } from './prefixes.ts';

const ranges = fc
  .tuple(fc.integer({ min: 0, max: 65_535 }), fc.integer({ min: 0, max: 65_535 }))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

const lastOf = ({ first, length }: { first: number; length: number }): number =>
  first + 2 ** (16 - length) - 1;

test('prefixes are the ports of the range, each once and no other', () => {
  fc.assert(
    fc.property(ranges, ([first, last]) => {
      const prefixes = portPrefixes([first, last]);
      let at = first;
      for (const prefix of prefixes) {
        assert.equal(prefix.first, at);
        assert.equal(
          prefix.first % 2 ** (16 - prefix.length),
          0,
          'a prefix begins at a multiple of its size',
        );
        at = lastOf(prefix) + 1;
      }
      assert.equal(at, last + 1);
      assert.ok(prefixes.length <= 30);
    }),
    { numRuns: 500 },
  );
});

test('no two neighbours among them are one prefix: there are no fewer', () => {
  fc.assert(
    fc.property(ranges, (range) => {
      const prefixes = portPrefixes(range);
      for (const [i, prefix] of prefixes.entries()) {
        const next = prefixes[i + 1];
        const joins = next?.length === prefix.length && prefix.first % 2 ** (17 - prefix.length) === 0;
        assert.ok(!joins, JSON.stringify([prefix, next]));
      }
    }),
    { numRuns: 500 },
  );
});

test('the whole of the ports is one prefix, and the worst range is thirty', () => {
  assert.deepEqual(portPrefixes([0, 65_535]), [{ first: 0, length: 0 }]);
  assert.equal(portPrefixes([1, 65_534]).length, 30);
});
