import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFakeClient } from '../client/fake.ts';
import { HeddleError } from '../lib/errors.ts';
import { isReadySince, waitForNodes } from './readiness.ts';

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
