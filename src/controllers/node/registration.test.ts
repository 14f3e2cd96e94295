import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { NODE } from '../../api/kinds.ts';
import type { Node } from '../../api/types.ts';
import { createFakeClient, eventually } from '../../client/fake.ts';
import { systemClock } from '../../lib/clock.ts';
import { nodeIdentity } from '../../lib/machine.ts';
import { silentLog } from '../../lib/log.ts';
import { runRegistration } from './registration.ts';

const info = {
  kernelVersion: '6.18',
  osImage: 'Debian',
  architecture: 'amd64',
  version: '0.1.0',
  ...nodeIdentity('cluster', 'node-1'),
};
const room = { capacity: { cpu: '2', pods: '9' }, allocatable: { cpu: '1900m', pods: '9' } };

function start(t: TestContext, notReady: () => string | undefined) {
  const client = createFakeClient();
  const stop = new AbortController();
  const addresses = ['10.240.0.1', 'fd00:10:240::1'];
  const deps = { client, node: 'node-1', addresses, info, room: () => room, notReady };
  const running = runRegistration({ ...deps, clock: systemClock, log: silentLog }, stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  const node = (): Node | undefined => client.all(NODE)[0];
  const ready = () => node()?.status?.conditions?.find(({ type }) => type === 'Ready');
  return { client, node, ready };
}

test('a node registers itself, with both of its addresses, and says when it becomes ready', async (t) => {
  let why: string | undefined = 'still starting';
  const { client, node, ready } = start(t, () => why);
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
  assert.equal(node()?.status?.conditions?.at(-1)?.type, 'Ready');
  await client.delete(NODE, 'node-1');
  why = 'gone and back';
  await eventually('it registers anew', () => ready()?.message === 'gone and back');
});

test('a node tells what it has, which machine it is, and lets others add to it', async (t) => {
  let why: string | undefined;
  const { client, node, ready } = start(t, () => why);
  await eventually('it is there', () => ready()?.status === 'True');
  assert.deepEqual(node()?.status?.capacity, room.capacity);
  assert.deepEqual(node()?.status?.allocatable, room.allocatable);
  const { machineID = '', systemUUID = '', bootID = '' } = node()?.status?.nodeInfo ?? {};
  assert.match(machineID, /^[0-9a-f]{32}$/);
  assert.match(systemUUID, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.notEqual(bootID, '');
  assert.notEqual(nodeIdentity('cluster', 'node-2').machineID, machineID, 'nodes of one machine differ');
  await client.patch(
    NODE,
    'node-1',
    undefined,
    { status: { capacity: { 'example.com/gpu': '3' } } },
    { subresource: 'status' },
  );
  why = 'another report';
  await eventually('it reports again', () => ready()?.status === 'False');
  assert.deepEqual(node()?.status?.allocatable, { ...room.allocatable, 'example.com/gpu': '3' });
});
