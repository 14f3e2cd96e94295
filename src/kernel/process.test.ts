import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { cpuTime, isAlive, pss, startTime } from './process.ts';
import { spawnIn } from './spawn.ts';

test('this process is alive, began once, uses memory and processor', () => {
  assert.equal(isAlive(process.pid), true);
  assert.equal(startTime(process.pid), startTime(process.pid));
  assert.ok((startTime(process.pid) ?? 0) > 0);
  assert.ok((pss(process.pid) ?? 0) > 1 << 20);
  assert.ok((cpuTime(process.pid) ?? 0) > 0);
});

test('a dead one is not, even before its parent has noticed', async () => {
  const child = spawnIn({ argv: ['sleep', '600'] });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  assert.equal(isAlive(pid), true);
  child.kill('SIGKILL');
  // No turn of the event loop until here, so it stays a zombie.
  while (isAlive(pid));
  await once(child, 'exit');
  assert.deepEqual(
    [isAlive(pid), startTime(pid), pss(pid), cpuTime(pid)],
    [false, undefined, undefined, undefined],
  );
});
