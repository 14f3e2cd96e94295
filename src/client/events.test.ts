import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT } from '../api/kinds.ts';
import { silentLog } from '../lib/log.ts';
import { createEventRecorder } from './events.ts';
import { createFakeClient } from './fake.ts';

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', namespace: 'shop', uid: 'u', resourceVersion: '3' },
};

test('the same thing said again is one Event with a count', async () => {
  const client = createFakeClient();
  const recorder = createEventRecorder(client, { component: 'test', host: 'node-1', log: silentLog });
  for (let i = 0; i < 3; i++) recorder.event(pod, 'Warning', 'Failed', 'it failed');
  recorder.event(pod, 'Normal', 'Done', 'it is done');
  await recorder.flush();
  recorder.event(pod, 'Warning', 'Failed', 'it failed');
  await recorder.flush();
  const events = client.all(EVENT).map((one) => `${one.reason} ${one.count}`);
  assert.deepEqual(events.sort(), ['Done 1', 'Failed 4']);
  const failed = client.all(EVENT).find((one) => one.reason === 'Failed');
  assert.equal(failed?.involvedObject.uid, 'u');
  assert.deepEqual(failed?.source, { component: 'test', host: 'node-1' });
});

test('one object cannot flood the others', async () => {
  const client = createFakeClient(() => 0);
  const recorder = createEventRecorder(client, { component: 'test', log: silentLog });
  for (let i = 0; i < 100; i++) recorder.event(pod, 'Normal', 'Tick', `tick ${i}`);
  recorder.event({ ...pod, metadata: { ...pod.metadata, uid: 'v' } }, 'Normal', 'Tick', 'other');
  await recorder.flush();
  assert.equal(client.all(EVENT).length, 26);
});

test('an Event that cannot be written harms nobody', async () => {
  const client = createFakeClient();
  client.onWrite = () => {
    throw new Error('no');
  };
  const recorder = createEventRecorder(client, { component: 'test', log: silentLog });
  recorder.event(pod, 'Normal', 'Lost', 'lost');
  await recorder.flush();
  client.onWrite = undefined;
  recorder.event(pod, 'Normal', 'Lost', 'lost');
  await recorder.flush();
  assert.equal(client.all(EVENT).length, 1);
});
