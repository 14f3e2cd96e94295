import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createTestNode, eventually, isReady, type TestNode } from '../test-node.ts';
import { cgroupTreePids, findCgroup2Mount } from '../../kernel/cgroup.ts';
import { add, logOf, outputOf, processPod, remove, sh, statusOf } from './test-pods.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

const phaseOf = (name: string) => node.pods.get(`uid-${name}`)?.status?.phase;
const initOf = (name: string, index = 0) =>
  node.pods.get(`uid-${name}`)?.status?.initContainerStatuses?.[index];
const data = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const forever = 'trap "exit 0" TERM; while :; do sleep 0.1; done';

test('init containers run in order, sidecars beside them, and all go in the end', async () => {
  await node.startHost();
  const pod = processPod('job', [sh('main', 'cat /data/log; test -e /data/helper', data)], {
    restartPolicy: 'OnFailure',
    volumes: [{ name: 'data', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }],
    initContainers: [
      sh('first', 'sleep 0.3; echo first >> /data/log', data),
      sh('helper', `touch /data/helper; ${forever}`, { ...data, restartPolicy: 'Always' }),
      sh('second', 'echo second >> /data/log; stat -f -c %T /data', data),
    ],
  });
  assert.equal(await outputOf(node, pod), 'first\nsecond\n');
  assert.equal(phaseOf('job'), 'Succeeded');
  assert.equal(logOf(node, 'job', 'second'), 'tmpfs\n');
  const { conditions } = node.pods.get('uid-job')!.status!;
  assert.equal(conditions!.find(({ type }) => type === 'Ready')!.reason, 'PodCompleted');
  await eventually('the sidecar is over', () => initOf('job', 1)?.state?.terminated);
  assert.equal(initOf('job', 0)!.state!.terminated!.reason, 'Completed');
});

test('an init container that fails for good fails its pod', async () => {
  await node.startHost();
  const pod = processPod('bad', [sh('main', 'echo never')], {
    restartPolicy: 'Never',
    initContainers: [sh('init', 'exit 4')],
  });
  assert.equal(await outputOf(node, pod), '');
  assert.equal(phaseOf('bad'), 'Failed');
  assert.equal(initOf('bad')!.state!.terminated!.exitCode, 4);
});

test('a program that is not there is a StartError that says so', async () => {
  await node.startHost();
  const pod = processPod('gone', [{ name: 'main', image: 'none', command: ['no-such-program'] }], {
    restartPolicy: 'Never',
  });
  await outputOf(node, pod);
  const { reason, message, exitCode } = statusOf(node, 'gone')!.state!.terminated!;
  assert.deepEqual([reason, exitCode], ['StartError', 128]);
  assert.match(message ?? '', /cannot start no-such-program: no such program/);
});

test('a container that fails its liveness probe is started again, without the pod', async () => {
  await node.startHost();
  const livenessProbe = {
    exec: { command: ['test', '!', '-e', '/tmp/sick'] },
    periodSeconds: 1,
    failureThreshold: 1,
  };
  add(node, processPod('sick', [sh('main', `sleep 1; touch /tmp/sick; ${forever}`, { livenessProbe })]));
  await eventually('it was started again', () => (statusOf(node, 'sick')?.restartCount ?? 0) >= 1);
  const about = node.events.filter(({ pod }) => pod === 'sick').map(({ reason }) => reason);
  assert.ok(about.includes('Unhealthy') && about.includes('Killing'), about.join(' '));
});

test('readiness follows its probe, over TCP in the pod’s own network', async () => {
  await node.startHost();
  const server =
    "perl -e 'use Socket; socket(S, AF_INET, SOCK_STREAM, 0); setsockopt(S, 1, 2, 1); bind(S, sockaddr_in(8080, INADDR_ANY)) or die; listen(S, 9); while (1) { accept(C, S); close C }'";
  const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 1 };
  const container = sh('main', server, {
    readinessProbe,
  });
  add(node, processPod('web', [container]));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-web')));
});

test('a container waits for its ConfigMap, and for its volume', async () => {
  await node.startHost();
  const env = [
    { name: 'A', valueFrom: { configMapKeyRef: { name: 'late', key: 'a' } } },
    { name: 'B', value: '$(A)-$(NAME)-$(NONE)' },
  ];
  const own = [{ name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }, ...env];
  add(node, processPod('late', [sh('main', 'echo "$B"', { env: own })], { restartPolicy: 'Never' }));
  await eventually('it says what is missing', () => {
    const waiting = statusOf(node, 'late')?.state?.waiting;
    return (
      waiting?.reason === 'CreateContainerConfigError' && waiting.message === 'configmap "late" not found'
    );
  });
  const metadata = { name: 'late', namespace: 'shop' };
  node.configMaps.set('shop/late', { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { a: 'x' } });
  await eventually('it runs', () => phaseOf('late') === 'Succeeded');
  assert.equal(logOf(node, 'late'), 'x-late-$(NONE)\n');
  const volumes = [
    {
      name: 'data',
      projected: {
        sources: [
          { configMap: { name: 'late' } },
          { downwardAPI: { items: [{ path: 'deep/name', fieldRef: { fieldPath: 'metadata.name' } }] } },
        ],
      },
    },
  ];
  const reading = sh(
    'main',
    'cat /data/a /data/deep/name; touch /data/new 2>/dev/null || echo read-only',
    data,
  );
  const text = await outputOf(node, processPod('files', [reading], { restartPolicy: 'Never', volumes }));
  assert.equal(text, 'xfilesread-only\n');
});

test('the hook comes before TERM, and KILL when the grace period is over', async () => {
  await node.startHost();
  const stubborn = sh('main', 'trap "echo term" TERM; while :; do sleep 0.05; done', {
    ...data,
    lifecycle: {
      preStop: { exec: { command: ['sh', '-c', 'echo hook > /proc/1/fd/1; echo hook > /data/hook'] } },
    },
  });
  add(node, processPod('stubborn', [stubborn], { volumes: [{ name: 'data', emptyDir: {} }] }));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-stubborn')));
  const pod = node.pods.get('uid-stubborn')!;
  const deletion = { deletionTimestamp: '2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 2 };
  add(node, { ...pod, metadata: { ...pod.metadata, ...deletion } });
  await eventually('TERM came', () => logOf(node, 'stubborn').includes('term'));
  await eventually('it was killed', () => !node.pods.has('uid-stubborn'));
  const last = node.patches.filter((one) => one.pod === 'stubborn').at(-1)!.status.containerStatuses![0]!;
  assert.equal(last.state?.terminated?.exitCode ?? 137, 137);
});

test('a holder that is killed takes its containers along, and they are started anew', async () => {
  await node.startHost();
  add(node, processPod('web', [sh('main', forever)]));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-web')));
  const cgroup = join(findCgroup2Mount()!, basename(node.folder), 'uid-web');
  const before = cgroupTreePids(cgroup);
  const [holder] = cgroupTreePids(join(cgroup, 'holder'));
  process.kill(holder!, 'SIGKILL');
  await eventually(
    'it runs again',
    () => statusOf(node, 'web')?.restartCount === 1 && statusOf(node, 'web')?.state?.running,
  );
  assert.equal(statusOf(node, 'web')!.lastState!.terminated!.reason, 'ContainerStatusUnknown');
  const now = new Set(cgroupTreePids(cgroup));
  assert.deepEqual(
    before.filter((pid) => now.has(pid)),
    [],
  );
  await remove(node, 'web');
});

test('a read-only root has no private folders to write to, but its volumes', async () => {
  await node.startHost();
  const securityContext = { readOnlyRootFilesystem: true };
  const script =
    'for d in /tmp /run /home /var/tmp / /data; do touch $d/x 2>/dev/null && echo $d; done; true';
  const pod = processPod('fixed', [sh('main', script, { ...data, securityContext })], {
    restartPolicy: 'Never',
    volumes: [{ name: 'data', emptyDir: {} }],
  });
  assert.equal(await outputOf(node, pod), '/data\n');
});

test('what the runtime does not have is refused by name', async () => {
  await node.startHost();
  for (const [name, container, words] of [
    ['image', { name: 'main', image: 'nginx' }, /container main: no command/],
    [
      'caps',
      sh('main', ':', { securityContext: { capabilities: { add: ['NET_ADMIN'] } } }),
      /capabilities.add: NET_ADMIN/,
    ],
    ['root', sh('main', ':', { securityContext: { privileged: true } }), /container main: privileged/],
  ] as const) {
    add(node, processPod(name, [container], { volumes: [{ name: 'data', emptyDir: {} }] }));
    const waiting = await eventually(`${name} is refused`, () => {
      const now = statusOf(node, name)?.state?.waiting;
      return now && /Refused|NotSupported/.test(now.reason ?? '') ? now : undefined;
    });
    assert.match(waiting.message ?? '', words);
  }
});

test('a limit that this machine cannot set is said to be none', async () => {
  await node.startHost();
  const resources = { limits: { memory: '64Mi', cpu: '500m' } };
  add(node, processPod('limited', [sh('main', forever, { resources })]));
  await eventually('it is Ready', () => isReady(node.pods.get('uid-limited')));
  const { places } = node.cgroups;
  const missing = (['memory', 'cpu'] as const).filter((one) => 'why' in places[one]);
  const condition = node.pods
    .get('uid-limited')!
    .status!.conditions!.find(({ type }) => type === 'heddle.dev/LimitsEnforced');
  assert.equal(condition?.status, missing.length > 0 ? 'False' : undefined);
  for (const one of missing) assert.match(condition?.message ?? '', new RegExp(one));
  const told = node.events.filter(({ reason }) => reason === 'LimitsNotEnforced');
  assert.equal(told.length, missing.length > 0 ? 1 : 0);
});

test('what a program writes is for other users of its pod to read, as its umask says', async () => {
  await node.startHost();
  const pod = processPod('mask', [sh('main', 'umask; touch /data/file; stat -c %a /data/file', data)], {
    restartPolicy: 'Never',
    volumes: [{ name: 'data', emptyDir: {} }],
  });
  assert.equal(await outputOf(node, pod), '0022\n644\n');
});
