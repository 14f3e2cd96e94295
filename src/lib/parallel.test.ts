import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mapLimited } from './parallel.ts';

test('results are in the order of the items, and no more run at once than allowed', async () => {
  let [running, most] = [0, 0];
  const results = await mapLimited([5, 1, 4, 2, 3], 2, async (n) => {
    most = Math.max(most, ++running);
    for (let turns = 0; turns < n; turns++) await Promise.resolve();
    running--;
    return n * 10;
  });
  assert.deepEqual([results, most], [[50, 10, 40, 20, 30], 2]);
});

test('nothing is begun after an interrupt', async () => {
  const interrupt = new AbortController();
  const begun: number[] = [];
  const work = async (n: number) => {
    begun.push(n);
    if (n === 3) interrupt.abort(new Error('received SIGINT'));
  };
  await assert.rejects(mapLimited([1, 2, 3, 4, 5], 1, work, interrupt.signal), {
    message: 'received SIGINT',
  });
  assert.deepEqual(begun, [1, 2, 3]);
});

test('after a failure nothing more is begun, and what was begun ends first', async () => {
  const ended: number[] = [];
  const work = async (n: number) => {
    for (let turns = 0; turns < 5 * n; turns++) await Promise.resolve();
    ended.push(n);
    if (n === 1) throw new Error('one fails');
  };
  await assert.rejects(mapLimited([1, 2, 3, 4], 2, work), { message: 'one fails' });
  assert.deepEqual(ended, [1, 2]);
});
