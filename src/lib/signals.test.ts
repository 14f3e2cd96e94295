import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { aborted, unlessAborted } from './signals.ts';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;

test('a wait ends as its promise does and leaves no listener', async () => {
  const { signal } = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(7), signal), 7);
  await assert.rejects(unlessAborted(Promise.reject(new Error('no')), signal), /no/);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(listeners(signal), 0);
});

test('a wait ends with the reason of the signal, now or later', async () => {
  const stop = new AbortController();
  const later = assert.rejects(unlessAborted(new Promise(() => {}), stop.signal), /enough/);
  const told = aborted(stop.signal);
  stop.abort(new Error('enough'));
  await later;
  await told;
  await assert.rejects(unlessAborted(Promise.resolve(), stop.signal), /enough/);
  await aborted(stop.signal);
});
