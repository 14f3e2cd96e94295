import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import { createTurns } from './turns.ts';

test('work on one key takes turns, also after a failure; other keys do not wait', async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const work =
    (name: string, fails = false) =>
    async () => {
      seen.push(`${name} begins`);
      await tick();
      seen.push(`${name} ends`);
      if (fails) throw new Error(name);
      return name;
    };
  const results = await Promise.allSettled([
    turns.take('a', work('a1', true)),
    turns.take('a', work('a2')),
    turns.take('b', work('b1')),
    turns.take('a', work('a3')),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled', 'fulfilled', 'fulfilled'],
  );
  assert.deepEqual(
    seen.filter((line) => line.startsWith('a')),
    ['a1 begins', 'a1 ends', 'a2 begins', 'a2 ends', 'a3 begins', 'a3 ends'],
  );
  assert.ok(seen.indexOf('b1 begins') < seen.indexOf('a1 ends'));
});
