import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from './log.ts';
import { aborted } from './signals.ts';
import { begun, runTasks, type Task } from './tasks.ts';

const log = silentLog;

function recorded(told: string[], name: string): Task {
  return {
    name,
    async run(signal) {
      told.push(`${name} runs`);
      await aborted(signal);
      told.push(`${name} ends`);
    },
  };
}

test('tasks start as they are read and end in reverse, one after the other', async () => {
  const told: string[] = [];
  const stop = new AbortController();
  const running = runTasks([recorded(told, 'a'), recorded(told, 'b')], { log, signal: stop.signal });
  stop.abort();
  await running;
  assert.deepEqual(told, ['a runs', 'b runs', 'b ends', 'a ends']);
});

test('what has begun before its turn runs once and ends in its turn', async () => {
  const told: string[] = [];
  const early = begun(recorded(told, 'early'));
  assert.deepEqual(told, ['early runs']);
  const stop = new AbortController();
  const running = runTasks([recorded(told, 'a'), early, recorded(told, 'b')], { log, signal: stop.signal });
  stop.abort();
  await running;
  assert.deepEqual(told, ['early runs', 'a runs', 'b runs', 'b ends', 'early ends', 'a ends']);
});

test('a failure before its turn is told in its turn', async () => {
  const early = begun({ name: 'early', run: () => Promise.reject(new Error('no such thing')) });
  await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(runTasks([early], { log, signal: new AbortController().signal }), /no such thing/);
});
