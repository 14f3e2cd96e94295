/** What a kubelet does for pods, many to a node: each takes its time, and they take it together. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { add, logOf, outputOf, processPod, remove, sh, statusOf } from './test-pods.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

const podOf = (name: string) => node.pods.get(`uid-${name}`);
const said = (name: string, reason: string) =>
  node.events.filter((one) => one.pod === name && one.reason === reason).map(({ message }) => message);
const forever = 'trap "echo bye; exit 0" TERM; echo up; while :; do sleep 0.1; done';
const data = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const never = { restartPolicy: 'Never' as const };

test('a pod whose time is over, and one that fills its volume, end as a whole and stay so', async () => {
  await node.startHost();
  const volumes = [{ name: 'data', emptyDir: { sizeLimit: '1Mi' } }];
  add(
    node,
    processPod('late', [sh('main', forever)], {
      activeDeadlineSeconds: 2,
      terminationGracePeriodSeconds: 20,
    }),
    processPod('full', [sh('main', `head -c 2000000 /dev/zero > /data/x; ${forever}`, data)], { volumes }),
    processPod('small', [sh('main', `head -c 500000 /dev/zero > /data/x; ${forever}`, data)], { volumes }),
  );
  await eventually('late is over', () => podOf('late')?.status?.containerStatuses?.[0]?.state?.terminated);
  const late = podOf('late')!.status!;
  assert.deepEqual([late.phase, late.reason], ['Failed', 'DeadlineExceeded']);
  assert.equal(late.message, 'Pod was active on the node longer than the specified deadline');
  assert.equal(logOf(node, 'late'), 'up\nbye\n');
  assert.equal(late.conditions!.find(({ type }) => type === 'Ready')!.reason, 'PodFailed');
  for (const name of ['full', 'small'])
    await eventually(`${name} has written`, () => logOf(node, name) === 'up\n');
  // The first look of an agent that comes is at once.
  await node.stopHost();
  await node.startHost();
  await eventually('full is evicted', () => podOf('full')?.status?.reason === 'Evicted');
  await eventually('and gone', () => podOf('full')?.status?.containerStatuses?.[0]?.state?.terminated);
  assert.match(podOf('full')!.status!.message!, /EmptyDir volume "data" exceeds the limit "1Mi"/);
  assert.equal(podOf('full')!.status!.phase, 'Failed');
  const disrupted = podOf('full')!.status!.conditions!.find(({ type }) => type === 'DisruptionTarget');
  assert.deepEqual([disrupted?.status, disrupted?.reason], ['True', 'TerminationByKubelet']);
  const written = join(node.folder, 'state/pods/uid-full/volumes/data');
  await eventually('what it wrote is removed', () => !existsSync(written));
  assert.equal(podOf('small')!.status!.phase, 'Running');
  assert.equal(podOf('late')!.status!.reason, 'DeadlineExceeded');
  assert.equal(logOf(node, 'late'), 'up\nbye\n', 'it is not started again');
  // To go while no agent is there.
  await node.stopHost();
  const small = podOf('small')!;
  const deletion = { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 30 };
  node.pods.set('uid-small', { ...small, metadata: { ...small.metadata, ...deletion } });
  await node.startHost();
  await eventually('small is gone', () => !podOf('small'));
  assert.deepEqual(said('small', 'Killing'), ['Stopping container main'], 'it was asked to end, not cut off');
  for (const name of ['late', 'full']) await remove(node, name);
});

test('hooks, probes and names are those of a kubelet', async () => {
  await node.startHost();
  const hooked = sh('main', forever, {
    lifecycle: { postStart: { exec: { command: ['sh', '-c', 'echo no >&2; exit 3'] } } },
  });
  const root = sh('main', 'id -u', { securityContext: { runAsUser: 0 } });
  const slow = sh('main', `sleep 1; touch /tmp/up; ${forever}`, {
    startupProbe: { exec: { command: ['test', '-e', '/tmp/up'] }, periodSeconds: 1, failureThreshold: 60 },
    // Run before its time, it would fail, and end the container.
    livenessProbe: { exec: { command: ['test', '-e', '/tmp/up'] }, periodSeconds: 1, failureThreshold: 1 },
    readinessProbe: {
      exec: { command: ['sh', '-c', 'echo x >> /tmp/asked; test $(wc -l < /tmp/asked) -ge 3'] },
      periodSeconds: 1,
      successThreshold: 2,
    },
    lifecycle: { preStop: { sleep: { seconds: 1 } } },
  });
  add(
    node,
    processPod('hooked', [hooked], { terminationGracePeriodSeconds: 1 }),
    processPod('root', [root], { securityContext: { runAsNonRoot: true } }),
    processPod('slow', [slow]),
  );
  const named = processPod(
    'named',
    [sh('main', 'hostname; cat /etc/hostname; grep named /etc/hosts; echo $HOSTNAME')],
    {
      ...never,
      hostname: 'named',
      subdomain: 'sub',
      setHostnameAsFQDN: true,
      hostAliases: [{ ip: '192.0.2.7', hostnames: ['alias-of-named', 'other'] }],
    },
  );
  const fqdn = 'named.sub.shop.svc.cluster.local';
  const [host, file, ...more] = (await outputOf(node, named)).trim().split('\n');
  assert.deepEqual([host, file, more.pop()], [fqdn, fqdn, fqdn]);
  assert.equal(more.pop(), '192.0.2.7 alias-of-named other');
  assert.ok(more.every((line) => line.endsWith(` ${fqdn} named`)) && more.length > 0, more.join('\n'));

  await eventually(
    'a hook that failed ends its container',
    () => (statusOf(node, 'hooked')?.restartCount ?? 0) > 0,
  );
  assert.match(said('hooked', 'FailedPostStartHook')[0] ?? '', /ended with 3: no/);
  await eventually(
    'root is refused',
    () => statusOf(node, 'root')?.state?.waiting?.reason === 'CreateContainerConfigError',
  );
  assert.equal(
    statusOf(node, 'root')!.state!.waiting!.message,
    `container's runAsUser breaks non-root policy (pod: "root_shop(uid-root)", container: main)`,
  );
  await eventually('slow is Ready', () => isReady(podOf('slow')));
  assert.equal(statusOf(node, 'slow')!.restartCount, 0, 'no other probe ran before the first had passed');
  const before = node.patches
    .filter(({ pod }) => pod === 'slow')
    .map(({ status }) => status.containerStatuses?.[0]);
  assert.ok(before.some((one) => one?.state?.running && !one.started));
  await remove(node, 'slow');
  assert.deepEqual(said('slow', 'Killing'), ['Stopping container main']);
});
