import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NODE, POD } from '../api/kinds.ts';
import { createFakeClient } from '../client/fake.ts';
import { systemClock } from '../lib/clock.ts';
import type { MachineRoom } from '../lib/machine-room.ts';
import { checkRoom, watchShortage } from './machine-short.ts';

const much = { capacity: 1e12, available: 1e12 };
const room: MachineRoom = { cpus: 2, memory: much, disk: much, inodes: much, pids: much, hugePages: {} };
const full = async () => ({ ...room, disk: { capacity: 500 * 2 ** 30, available: 300 * 2 ** 20 } });

test('a disk that is full is told before anything is made, unless the user wants it so', async () => {
  await checkRoom('/there/is/none', undefined, async () => room);
  await assert.rejects(checkRoom('/there/is/none', undefined, full), {
    code: 'MachineShort',
    message: 'no node would take pods: nodefs.available is 300Mi, expected 1Gi',
    hint: /--eviction-hard none/,
  });
  await checkRoom('/there/is/none', {}, full);
  await checkRoom('/there/is/none', undefined, () => Promise.reject(new Error('unreadable')));
});

test('pods that no node takes are waited for a while, not for minutes', async () => {
  const client = createFakeClient();
  let now = 0;
  const look = watchShortage(client, '/data', { ...systemClock, monotonic: () => now });
  const node = await client.create(NODE, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } });
  const condition = (status: string) => ({
    type: 'DiskPressure',
    status,
    message: 'nodefs.available is 1Mi',
  });
  const tell = async (status: string) => {
    const live = await client.get(NODE, node.metadata.name);
    await client.updateStatus(NODE, { ...live, status: { conditions: [condition(status)] } });
  };
  await tell('True');
  await look();
  now = 20_000;
  await look();
  const spec = { containers: [{ name: 'c', image: 'i' }] };
  const made = await client.create(POD, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'x' },
    spec,
  });
  await client.updateStatus(POD, { ...made, status: { phase: 'Pending' } });
  await look();
  now = 34_000;
  await tell('False');
  await look();
  await tell('True');
  now = 36_000;
  await look();
  now = 52_000;
  await assert.rejects(look(), {
    code: 'MachineShort',
    message: 'no node takes pods: nodefs.available is 1Mi',
  });
});
