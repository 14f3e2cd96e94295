import assert from 'node:assert/strict';
import { test } from 'node:test';
import { medianInterval, ratioOf, run, spread } from './harness.ts';

test('the median of an even number of figures lies between the middle two', () => {
  assert.deepEqual(spread('x', [4, 1, 3, 2]), { name: 'x', median: 2.5, p10: 1.3, p90: 3.7 });
});

// Ranks as tables of the sign test have them (here counted from 0).
for (const [n, low, high] of [
  [6, 0, 5],
  [8, 0, 7],
  [10, 1, 8],
  [15, 3, 11],
  [20, 5, 14],
] as const)
  test(`the median of ${n} lies between ranks ${low} and ${high} with 95 %`, () =>
    assert.deepEqual(medianInterval(n), [low, high]));

test('a ratio above 1 says that ours is ahead, whichever way is better', () => {
  const six = (value: number) => Array<number>(6).fill(value);
  assert.equal(ratioOf({ larger: true }, 'p', six(20), six(10)).median, 2);
  assert.equal(ratioOf({ larger: false }, 'p', six(10), six(20)).low, 2);
});

test('every contender is measured once a round, after a warm-up, in changing order', async () => {
  const order: string[] = [];
  const contender = (name: string) => ({
    name,
    measure: () => {
      order.push(name);
      return Promise.resolve(1);
    },
  });
  const benchmark = {
    name: 'n',
    unit: 'ms',
    larger: false,
    ours: contender('a'),
    peers: [contender('b')],
    close: () => Promise.resolve(),
  };
  const result = await run(benchmark, 2);
  assert.deepEqual(order, ['a', 'b', 'a', 'b', 'b', 'a']);
  assert.equal(result.runs, 2);
});
