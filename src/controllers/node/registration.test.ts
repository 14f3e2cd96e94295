import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODE } from '../../api/kinds.ts';
import type { Node } from '../../api/types.ts';
import { createFakeClient, eventually } from '../../client/fake.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { runRegistration } from './registration.ts';

const info = { kernelVersion: '6.18', osImage: 'Debian', architecture: 'amd64', version: '0.1.0' };

test('a node registers itself, with both of its addresses, and says when it becomes ready', async (t) => {
  const client = createFakeClient();
  const stop = new AbortController();
  let why: string | undefined = 'still starting';
  const running = runRegistration(
    {
      client,
      node: 'node-1',
      addresses: ['10.240.0.1', 'fd00:10:240::1'],
      info,
      notReady: () => why,
      clock: systemClock,
      log: silentLog,
    },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await running;
  });
  const node = (): Node | undefined => client.all(NODE)[0];
  const ready = () => node()?.status?.conditions?.find(({ type }) => type === 'Ready');
  await eventually('it is there and not ready', () => ready()?.status === 'False');
  assert.equal(ready()?.reason, 'KubeletNotReady');
  assert.equal(ready()?.message, 'still starting');
  const unavailable = () =>
    node()?.status?.conditions?.find(({ type }) => type === 'NetworkUnavailable')?.status;
  assert.equal(unavailable(), 'True');
  assert.deepEqual(
    node()
      ?.status?.addresses?.filter(({ type }) => type === 'InternalIP')
      .map(({ address }) => address),
    ['10.240.0.1', 'fd00:10:240::1'],
  );
  why = undefined;
  await eventually('it is ready', () => ready()?.status === 'True');
  assert.equal(unavailable(), 'False');
  await client.delete(NODE, 'node-1');
  why = 'gone and back';
  await eventually('it registers anew', () => ready()?.message === 'gone and back');
});
