import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { eventually } from './fake.ts';
import { type QueueOptions, createQueue } from './queue.ts';

function start(work: QueueOptions['work'], options: Partial<QueueOptions> = {}) {
  const queue = createQueue({ name: 'test', work, log: silentLog, ...options });
  const stop = new AbortController();
  const done = queue.run(stop.signal);
  return {
    queue,
    async stop() {
      stop.abort();
      await done;
    },
  };
}

test('a key added many times while it waits is worked on once', async () => {
  const worked: string[] = [];
  const queue = createQueue({ name: 'test', log: silentLog, work: async (key) => void worked.push(key) });
  for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
  assert.equal(queue.depth, 2);
  const stop = new AbortController();
  const done = queue.run(stop.signal);
  await eventually('idle', () => queue.idle);
  stop.abort();
  await done;
  assert.deepEqual(worked, ['a', 'b']);
});

test('a key added while it is worked on is worked on once more, never twice at once', async () => {
  let now = 0;
  let most = 0;
  let times = 0;
  const { queue, stop } = start(async () => {
    most = Math.max(most, ++now);
    times++;
    if (times === 1) {
      queue.add('a');
      queue.add('a');
    }
    await new Promise(setImmediate);
    now--;
  });
  queue.add('a');
  await eventually('idle', () => queue.idle);
  await stop();
  assert.equal(most, 1);
  assert.equal(times, 2);
});

test('work is done side by side up to the bound', async () => {
  let now = 0;
  let most = 0;
  const { queue, stop } = start(
    async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 2));
      now--;
    },
    { concurrency: 3 },
  );
  for (let i = 0; i < 20; i++) queue.add(String(i));
  await eventually('idle', () => queue.idle);
  await stop();
  assert.equal(most, 3);
});

test('a key that fails comes back until it does not, and is counted', async () => {
  const metrics = createMetrics();
  let left = 3;
  const { queue, stop } = start(
    async () => {
      if (left-- > 0) throw new Error('not yet');
    },
    { retry: { first: 1, longest: 4 }, metrics },
  );
  queue.add('a');
  await eventually('done', () => left < 0);
  await stop();
  assert.match(metrics.text(), /workqueue_retries_total\{name="test"\} 3/);
  assert.match(metrics.text(), /workqueue_adds_total\{name="test"\} 4/);
});

test('of two times for one key the earlier wins', async () => {
  let times = 0;
  const { queue, stop } = start(async () => void times++);
  queue.addAfter('a', 60_000);
  queue.addAfter('a', 1);
  queue.addAfter('a', 60_000);
  await eventually('once', () => times === 1);
  await stop();
});

test('after the signal nothing starts, and run waits for what has started', async () => {
  const release = Promise.withResolvers<void>();
  const worked: string[] = [];
  const { queue, stop } = start(
    async (key) => {
      await release.promise;
      worked.push(key);
    },
    { concurrency: 1 },
  );
  queue.add('a');
  queue.add('b');
  const stopped = stop();
  release.resolve();
  await stopped;
  assert.deepEqual(worked, ['a']);
});
