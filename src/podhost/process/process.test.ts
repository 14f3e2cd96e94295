import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { add, logOf, processPod, remove, sh, statusOf } from './test-pods.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

test('a program runs in its pod, logs, ends, is started again, and goes without trace', async () => {
  await node.startHost();
  add(
    node,
    processPod('web', [sh('main', 'echo up as $(id -u) on $(hostname); cat /etc/hosts; sleep 1000')]),
  );
  add(node, processPod('crash', [sh('main', 'echo once; echo why > /dev/termination-log; exit 3')]));
  await eventually('web is Ready', () => isReady(node.pods.get('uid-web')));
  const web = node.pods.get('uid-web')!.status!;
  assert.equal(web.phase, 'Running');
  assert.ok(web.containerStatuses![0]!.state!.running);
  await eventually('its log', () => /up as 1\d{9} on web\n[^]*web\n/.test(logOf(node, 'web')));
  await eventually('crash was started again, and waits', () => {
    const status = statusOf(node, 'crash');
    return status?.restartCount === 1 && status.state?.waiting?.reason === 'CrashLoopBackOff';
  });
  const { lastState, state } = statusOf(node, 'crash')!;
  assert.equal(lastState!.terminated!.exitCode, 3);
  assert.equal(lastState!.terminated!.reason, 'Error');
  assert.equal(lastState!.terminated!.message, 'why\n');
  assert.match(state!.waiting!.message!, /back-off 10s restarting failed container=main pod=crash_shop/);
  assert.equal(logOf(node, 'crash', 'main', 1), 'once\n');
  assert.ok(node.events.some(({ pod, reason }) => pod === 'crash' && reason === 'BackOff'));
  await remove(node, 'web');
  await remove(node, 'crash');
  assert.ok(!existsSync(join(node.folder, 'logs/shop_web_uid-web')));
  assert.deepEqual(
    node.netnsPaths().filter((path) => existsSync(path)),
    [],
  );
});

test('an agent that was away finds its containers as it left them', async () => {
  await node.startHost();
  add(
    node,
    processPod('web', [
      sh('main', 'echo started; trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done', {
        readinessProbe: { exec: { command: ['true'] } },
      }),
    ]),
  );
  await eventually('web is Ready', () => isReady(node.pods.get('uid-web')));
  const before = statusOf(node, 'web')!;
  await node.stopHost();
  const from = node.patches.length;
  await node.startHost();
  await eventually('it is adopted', () => node.host.find('shop', 'web')?.ready());
  assert.deepEqual(statusOf(node, 'web'), before);
  assert.ok(node.patches.slice(from).every(({ status }) => status.containerStatuses![0]!.ready));
  assert.equal(logOf(node, 'web'), 'started\n');
  await remove(node, 'web');
  assert.equal(node.host.status().tearDowns, 1);
});
