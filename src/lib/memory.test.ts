import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectGarbage, createHousekeeping } from './memory.ts';

test('what nobody holds is collected', async () => {
  const gone = new WeakRef({ large: 'x' });
  // A WeakRef holds its target until the end of the turn.
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  assert.equal(gone.deref(), undefined);
});

test('it is collected after much, once it is quiet, and counted anew', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let collected = 0;
  const keeping = createHousekeeping({ enough: 100, quietMs: 1000, collect: () => collected++ });
  keeping.note(99);
  t.mock.timers.tick(5000);
  assert.equal(collected, 0);
  keeping.note(1);
  t.mock.timers.tick(1000);
  assert.equal(collected, 1);
  keeping.note(50);
  t.mock.timers.tick(5000);
  assert.equal(collected, 1);
  keeping.note(50);
  keeping.stop();
  t.mock.timers.tick(5000);
  assert.equal(collected, 1);
});
