import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { NODE } from '../api/kinds.ts';
import type { Node } from '../api/types.ts';
import { createEventRecorder } from '../client/events.ts';
import { type FakeClient, createFakeClient, eventually } from '../client/fake.ts';
import type { Clock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import { createClusterInformers } from './informers.ts';
import { createNodeLifecycleController } from './node-lifecycle.ts';
import { addNodes } from './testing.ts';

/** A clock whose sleeps take no time but count. */
function quickClock(): Clock & { passed: number } {
  const clock = {
    passed: 0,
    now: () => Date.parse('2026-01-01T00:00:00Z') + clock.passed,
    monotonic: () => clock.passed,
    async sleep(ms: number) {
      clock.passed += ms;
      await new Promise((resolve) => setTimeout(resolve, 1));
    },
  };
  return clock;
}

async function start(t: TestContext, client: FakeClient) {
  await addNodes(client, ['node-1', 'node-2']);
  const informers = createClusterInformers(client, silentLog);
  const clock = quickClock();
  const controller = createNodeLifecycleController({
    client,
    informers,
    recorder: (component) => createEventRecorder(client, { component, log: silentLog }),
    log: silentLog,
    metrics: createMetrics(),
    clock,
  });
  const stop = new AbortController();
  const done = [informers.run(stop.signal), controller.run(stop.signal)];
  t.after(async () => {
    stop.abort();
    await Promise.all(done);
  });
  return clock;
}

const readyOf = ({ status }: Node) => status?.conditions?.find((one) => one.type === 'Ready')?.status;
const find = (client: FakeClient, name: string) =>
  client.all(NODE).find((one) => one.metadata.name === name)!;

async function report(client: FakeClient, name: string, at: number): Promise<void> {
  const condition = { type: 'Ready', status: 'True', lastHeartbeatTime: new Date(at).toISOString() };
  await client.patch(
    NODE,
    name,
    undefined,
    { status: { conditions: [condition] } },
    { subresource: 'status' },
  );
}

test('a node that no longer reports is unknown and gets nothing new, until it reports again', async (t) => {
  const client = createFakeClient();
  const clock = await start(t, client);
  const beats = setInterval(() => void report(client, 'node-2', clock.passed), 2);
  t.after(() => clearInterval(beats));
  await eventually('unknown', () => readyOf(find(client, 'node-1')) === 'Unknown');
  assert.ok(clock.passed >= 40_000);
  await eventually('tainted', () => find(client, 'node-1').spec?.taints?.length === 1);
  assert.equal(find(client, 'node-1').spec?.taints?.[0]?.effect, 'NoSchedule');
  assert.equal(readyOf(find(client, 'node-2')), 'True');
  assert.equal(find(client, 'node-2').spec?.taints, undefined);
  const more = setInterval(() => void report(client, 'node-1', clock.passed), 2);
  t.after(() => clearInterval(more));
  await eventually('back', () => (find(client, 'node-1').spec?.taints ?? []).length === 0);
  assert.equal(readyOf(find(client, 'node-1')), 'True');
});

test('while the API server is away no node is blamed', async (t) => {
  const client = createFakeClient();
  const { get } = client;
  let asked = 0;
  client.get = () => {
    asked++;
    return Promise.reject(new HeddleError('ApiUnreachable', 'away'));
  };
  const clock = await start(t, client);
  await eventually('looked', () => asked >= 2 && clock.passed > 100_000);
  client.get = get;
  const beats = setInterval(() => {
    for (const name of ['node-1', 'node-2']) void report(client, name, clock.passed);
  }, 2);
  t.after(() => clearInterval(beats));
  const from = clock.passed;
  await eventually('time passes', () => clock.passed > from + 100_000);
  assert.deepEqual(client.all(NODE).map(readyOf), ['True', 'True']);
});

test('what a node is short of keeps pods away by taints, those of others stay', async (t) => {
  const client = createFakeClient();
  await start(t, client);
  // Time flies here, and nobody reports: whether the node is reachable is another matter.
  const taints = () =>
    (find(client, 'node-1').spec?.taints ?? [])
      .filter(({ key }) => key !== 'node.kubernetes.io/unreachable')
      .map(({ key, effect }) => `${key}:${effect}`)
      .toSorted();
  const gpu = { key: 'gpu', effect: 'NoSchedule' } as const;
  await client.patch(NODE, 'node-1', undefined, { spec: { taints: [gpu] } });
  const say = (...types: string[]) =>
    client.patch(
      NODE,
      'node-1',
      undefined,
      { status: { conditions: ['Ready', ...types].map((type) => ({ type, status: 'True' })) } },
      { subresource: 'status' },
    );
  await say('DiskPressure', 'PIDPressure');
  const both = ['gpu:NoSchedule', 'disk', 'pid'].map((one) =>
    one.includes(':') ? one : `node.kubernetes.io/${one}-pressure:NoSchedule`,
  );
  await eventually('it has both', () => String(taints()) === String(both));
  await say('MemoryPressure');
  await eventually(
    'it has the other one',
    () => String(taints()) === 'gpu:NoSchedule,node.kubernetes.io/memory-pressure:NoSchedule',
  );
  await say();
  await eventually('it has none of them', () => String(taints()) === 'gpu:NoSchedule');
});
