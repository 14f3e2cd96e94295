import assert from 'node:assert/strict';
import { test } from 'node:test';
import { POD, SERVICE } from '../../api/kinds.ts';
import type { Pod } from '../../api/types.ts';
import { createFakeClient, eventually } from '../../client/fake.ts';
import { createInformer } from '../../client/informer.ts';
import { silentLog } from '../../lib/log.ts';
import { podOf, serviceOf } from '../testing.ts';
import { createPodController } from './pods.ts';

function setUp(signal: AbortSignal) {
  const client = createFakeClient();
  const pods = createInformer(client, POD, { log: silentLog });
  const services = createInformer(client, SERVICE, { log: silentLog });
  const wanted: string[][] = [];
  const controller = createPodController({
    client,
    pods,
    services,
    reconcile: (list: readonly Pod[]) => wanted.push(list.map(({ metadata }) => metadata.name)),
  });
  const done = controller.run(signal);
  for (const informer of [pods, services]) void informer.run(signal);
  return { client, controller, wanted, done };
}

test('the pod host is told all pods at once, and again at each change', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const { client, wanted } = setUp(stop.signal);
  await eventually('the empty list is told', () => wanted.length > 0);
  await client.create(POD, podOf({ name: 'b' }));
  await client.create(POD, podOf({ name: 'a' }));
  await eventually('both are told', () => wanted.at(-1)?.join() === 'a,b');
});

test('target ports are the numeric ones of services that select the pod', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const { client, controller } = setUp(stop.signal);
  await client.create(SERVICE, serviceOf());
  await client.create(
    SERVICE,
    serviceOf(
      {
        ports: [
          { port: 81, targetPort: 'named' },
          { port: 53, protocol: 'UDP' },
        ],
      },
      'two',
    ),
  );
  await client.create(SERVICE, serviceOf({ selector: { app: 'other' } }, 'three'));
  await client.create(SERVICE, { ...serviceOf({}, 'four'), spec: { ports: [{ port: 9 }] } });
  const pod = podOf({ name: 'a' });
  await eventually('all services are known', () => controller.targetPorts(pod).length === 2);
  assert.deepEqual(controller.targetPorts(pod), [
    { port: 53, protocol: 'UDP' },
    { port: 8080, protocol: 'TCP' },
  ]);
});

test('deleting a pod that is another one by now is no error and deletes nothing', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const { client, controller } = setUp(stop.signal);
  const old = await client.create(POD, podOf({ name: 'a' }));
  await client.delete(POD, 'a', 'shop', { gracePeriodSeconds: 0 });
  await client.create(POD, podOf({ name: 'a' }));
  await controller.deletePod(old);
  assert.equal(client.all(POD).length, 1);
});
