import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { RUNTIME_ANNOTATION } from '../../api/runtime.ts';
import type { Pod } from '../../api/types.ts';
import { createTestNode, eventually, isReady, type TestNode, testPod } from '../test-node.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

type Spec = NonNullable<Pod['spec']>;
type Container = Spec['containers'][number];

const sh = (name: string, script: string, more: Partial<Container> = {}): Container => ({
  name,
  image: 'none',
  command: ['sh', '-c', script],
  ...more,
});

function processPod(name: string, containers: Container[], spec: Partial<Spec> = {}): Pod {
  const pod = testPod(name, { containers, ...spec });
  return { ...pod, metadata: { ...pod.metadata, annotations: { [RUNTIME_ANNOTATION]: 'process' } } };
}

function add(...pods: Pod[]): void {
  for (const pod of pods) node.pods.set(pod.metadata.uid!, pod);
  node.changed();
}

const statusOf = (name: string, container = 0) =>
  node.pods.get(`uid-${name}`)?.status?.containerStatuses?.[container];
const logOf = (name: string, container = 'main', attempt = 0): string => {
  const path = join(node.folder, 'logs', `shop_${name}_uid-${name}`, container, `${attempt}.log`);
  return existsSync(path) ? readFileSync(path, 'utf8').replaceAll(/^\S+ (stdout|stderr) [PF] /gm, '') : '';
};
const remove = async (name: string) => {
  const pod = node.pods.get(`uid-${name}`)!;
  add({
    ...pod,
    metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30 },
  });
  await eventually(`${name} is gone`, () => !node.pods.has(`uid-${name}`) && !node.host.find('shop', name));
};

test('a program runs in its pod, logs, ends, is started again, and goes without trace', async () => {
  await node.startHost();
  add(processPod('web', [sh('main', 'echo up as $(id -u) on $(hostname); cat /etc/hosts; sleep 1000')]));
  add(processPod('crash', [sh('main', 'echo once; echo why > /dev/termination-log; exit 3')]));
  await eventually('web is Ready', () => isReady(node.pods.get('uid-web')));
  const web = node.pods.get('uid-web')!.status!;
  assert.equal(web.phase, 'Running');
  assert.ok(web.containerStatuses![0]!.state!.running);
  await eventually('its log', () => /up as 1\d{9} on web\n[^]*web\n/.test(logOf('web')));
  await eventually('crash was started again, and waits', () => {
    const status = statusOf('crash');
    return status?.restartCount === 1 && status.state?.waiting?.reason === 'CrashLoopBackOff';
  });
  const { lastState, state } = statusOf('crash')!;
  assert.equal(lastState!.terminated!.exitCode, 3);
  assert.equal(lastState!.terminated!.reason, 'Error');
  assert.equal(lastState!.terminated!.message, 'why\n');
  assert.match(state!.waiting!.message!, /back-off 10s restarting failed container=main pod=crash_shop/);
  assert.equal(logOf('crash', 'main', 1), 'once\n');
  assert.ok(node.events.some(({ pod, reason }) => pod === 'crash' && reason === 'BackOff'));
  await remove('web');
  await remove('crash');
  assert.ok(!existsSync(join(node.folder, 'logs/shop_web_uid-web')));
  assert.deepEqual(
    node.netnsPaths().filter((path) => existsSync(path)),
    [],
  );
});

test('an agent that was away finds its containers as it left them', async () => {
  await node.startHost();
  add(
    processPod('web', [
      sh('main', 'echo started; trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done', {
        readinessProbe: { exec: { command: ['true'] } },
      }),
    ]),
  );
  await eventually('web is Ready', () => isReady(node.pods.get('uid-web')));
  const before = statusOf('web')!;
  await node.stopHost();
  const from = node.patches.length;
  await node.startHost();
  await eventually('it is adopted', () => node.host.find('shop', 'web')?.ready());
  assert.deepEqual(statusOf('web'), before);
  assert.ok(node.patches.slice(from).every(({ status }) => status.containerStatuses![0]!.ready));
  assert.equal(logOf('web'), 'started\n');
  await remove('web');
  assert.equal(node.host.status().tearDowns, 1);
});
