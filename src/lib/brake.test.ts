import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { createBrake } from './brake.ts';

function slow() {
  const done: (() => void)[] = [];
  const to = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, go) => void done.push(go) });
  const next = async () => {
    done.shift()?.();
    await new Promise(setImmediate);
  };
  return { to, next };
}

function lab() {
  const steps: string[] = [];
  const brake = createBrake({ stop: () => steps.push('stop'), go: () => steps.push('go') });
  return { steps, brake };
}

test('a source waits until all that it writes to have room, with one listener at each', async () => {
  const { steps, brake } = lab();
  const [one, two] = [slow(), slow()];
  for (let i = 0; i < 20; i++) brake.write(one.to, Buffer.from('x'));
  brake.write(two.to, Buffer.from('y'));
  assert.deepEqual(steps, ['stop']);
  assert.equal(one.to.listenerCount('drain'), 1);
  await two.next();
  assert.deepEqual(steps, ['stop'], 'the other is behind');
  for (let i = 0; i < 20; i++) await one.next();
  assert.deepEqual(steps, ['stop', 'go']);
  assert.equal(one.to.listenerCount('drain') + one.to.listenerCount('close'), 0);
  brake.write(two.to, Buffer.from('z'));
  assert.deepEqual(steps, ['stop', 'go', 'stop']);
});

test('who is behind and closes holds nobody up', async () => {
  const { steps, brake } = lab();
  const { to } = slow();
  brake.write(to, Buffer.from('x'));
  to.destroy();
  await new Promise(setImmediate);
  assert.deepEqual(steps, ['stop', 'go']);
});
