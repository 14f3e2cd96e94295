import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFakeClient } from '../client/fake.ts';
import { HeddleError } from '../lib/errors.ts';
import { POD } from '../api/kinds.ts';
import type { Pod } from '../api/types.ts';
import { isReadySince, waitForNodes, waitForPods } from './readiness.ts';

const now = Date.parse('2026-01-01T00:00:10.700Z');
const ready = (more: object) => ({ type: 'Ready', status: 'True', ...more });

for (const [what, status, expected] of [
  ['a node that says so now', { conditions: [ready({ lastHeartbeatTime: '2026-01-01T00:00:10Z' })] }, true],
  ['a node of an earlier run', { conditions: [ready({ lastHeartbeatTime: '2026-01-01T00:00:09Z' })] }, false],
  ['a node that is not Ready', { conditions: [{ type: 'Ready', status: 'False' }] }, false],
  ['a pod that runs since', pod('2026-01-01T00:00:10Z', '2026-01-01T00:00:12Z'), true],
  ['a pod of an earlier run', pod('2026-01-01T00:00:10Z', '2026-01-01T00:00:09Z'), false],
  ['a pod without status', undefined, false],
] as const)
  test(`${what} is ${expected ? '' : 'not '}Ready since`, () => {
    assert.equal(
      isReadySince({ metadata: { name: 'x' }, ...(status && { status }) } as never, now),
      expected,
    );
  });

function pod(...starts: string[]) {
  const containerStatuses = starts.map((startedAt) => ({ state: { running: { startedAt } } }));
  return { conditions: [ready({})], containerStatuses };
}

test('waiting ends when a check says that there is nothing to wait for', async () => {
  const waiting = waitForNodes(1, {
    client: createFakeClient(),
    signal: AbortSignal.timeout(10_000),
    timeout: 60_000,
    onTally: () => {},
    check: () => Promise.reject(new HeddleError('ProcessFails', 'agent-node-1 ends whenever it is started')),
  });
  await assert.rejects(waiting, /agent-node-1 ends whenever/);
});

const failed = (name: string, owner?: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: 'shop',
    ...(owner && {
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: owner, uid: owner, controller: true },
      ],
    }),
  },
  spec: { containers: [{ name: 'c', image: 'i' }] },
  status: { phase: 'Failed', reason: 'OutOfcpu', message: 'Pod was rejected: no room' },
});

async function waitingFor(...pods: Pod[]): Promise<void> {
  const client = createFakeClient();
  for (const { status, ...pod } of pods) {
    const made = await client.create(POD, pod);
    if (status) await client.updateStatus(POD, { ...made, status });
  }
  const signal = AbortSignal.timeout(60_000);
  return waitForPods({ client, signal, timeout: 120_000, onTally: () => {} }, async () => 0);
}

test('a pod that has failed and is replaced is not waited for', () => waitingFor(failed('a', 'web')));

test('a pod that has failed for good ends the wait, with the reason', async () => {
  await assert.rejects(waitingFor(failed('a'), failed('b', 'web')), (error: HeddleError) => {
    assert.equal(error.code, 'NotReady');
    assert.match(error.message, /^0 of 1 pods/);
    assert.match(error.hint ?? '', /shop\/a: OutOfcpu: Pod was rejected: no room/);
    return true;
  });
});
