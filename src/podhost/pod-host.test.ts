import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { createTestNode, eventually, isReady, type TestNode, testPod } from './test-node.ts';

let node: TestNode;
beforeEach(async () => {
  node = await createTestNode();
});
afterEach(() => node.close());

const ready = (name: string) => eventually(`${name} is Ready`, () => isReady(node.pods.get(`uid-${name}`)));
function add(...pods: ReturnType<typeof testPod>[]) {
  for (const pod of pods) node.pods.set(pod.metadata.uid!, pod);
  node.changed();
}
const links = () =>
  node.route
    .links()
    .map(({ name }) => name)
    .filter((name) => name !== 'lo');

test('a pod comes up by CNI, passes its probes, serves HTTP to another pod and goes without trace', async () => {
  node.startStandIn();
  await node.startHost();
  add(
    testPod('web', {
      containers: [
        {
          name: 'main',
          image: 'web:1',
          ports: [{ name: 'http', containerPort: 8080 }],
          readinessProbe: { httpGet: { path: '/ready', port: 'http' } },
          livenessProbe: { tcpSocket: { port: 8080 } },
        },
        {
          name: 'grpc',
          image: 'grpc:1',
          readinessProbe: { grpc: { port: 9000 } },
          startupProbe: { grpc: { port: 9000 } },
        },
      ],
      initContainers: [{ name: 'init', image: 'init:1' }],
    }),
    testPod('client'),
  );
  await ready('web');
  await ready('client');
  const status = node.pods.get('uid-web')!.status!;
  assert.equal(status.phase, 'Running');
  assert.equal(status.podIPs!.length, 2);
  assert.equal(status.hostIP, '10.9.0.1');
  assert.equal(status.initContainerStatuses![0]!.state!.terminated!.reason, 'Completed');
  assert.deepEqual(
    status.containerStatuses!.map(({ ready }) => ready),
    [true, true],
  );
  for (const { ip } of status.podIPs!) {
    const result = await node.host.standIn.connect({
      uid: 'uid-client',
      host: ip,
      port: 8080,
      kind: 'http',
      path: '/x',
    });
    assert.ok(result.ok, JSON.stringify(result));
    assert.equal(result.status, 200);
    assert.equal(result.responder, 'shop/web');
    assert.ok(
      node.pods.get('uid-client')!.status!.podIPs!.some(({ ip }) => ip === result.peerSeen),
      'source preserved',
    );
  }
  await eventually('the log has the request', () => {
    const path = join(node.folder, 'logs/shop_web.log');
    return existsSync(path) && readFileSync(path, 'utf8').includes('GET /x 200');
  });

  for (const name of ['web', 'client']) {
    const pod = node.pods.get(`uid-${name}`)!;
    pod.metadata = {
      ...pod.metadata,
      deletionTimestamp: '2026-01-01T00:00:00Z',
      deletionGracePeriodSeconds: 30,
    };
  }
  node.changed();
  await eventually('both pods are deleted', () => node.pods.size === 0);
  assert.deepEqual(links(), []);
  assert.deepEqual(node.ipam.list(), []);
  assert.deepEqual(node.host.localPods(), []);
  assert.ok(node.netnsPaths().every((path) => !existsSync(path)));
  assert.deepEqual(await node.host.standIn.status(), []);
});

test('TCP, UDP and refusals are told as they are', async () => {
  node.startStandIn();
  await node.startHost();
  add(
    testPod('server', {
      containers: [
        { name: 'a', image: 'a', ports: [{ containerPort: 6379 }, { containerPort: 53, protocol: 'UDP' }] },
      ],
    }),
    testPod('client'),
  );
  await ready('server');
  await ready('client');
  const from = (port: number, kind: 'tcp' | 'udp', host: string) =>
    node.host.standIn.connect({ uid: 'uid-client', host, port, kind, timeoutMs: 1500 });
  for (const { ip } of node.pods.get('uid-server')!.status!.podIPs!) {
    assert.equal((await from(6379, 'tcp', ip)).responder, 'shop/server');
    assert.equal((await from(53, 'udp', ip)).responder, 'shop/server');
    const refused = await from(1, 'tcp', ip);
    assert.match(refused.error!, /ECONNREFUSED/);
    assert.ok(
      refused.local!.port >= 32_768 && refused.local!.address !== '',
      'a failed attempt can be traced',
    );
    assert.match((await from(1, 'udp', ip)).error!, /ECONNREFUSED/);
  }
});

test('Ready waits for the data path, and nothing listens before it', async () => {
  node.startStandIn();
  const gate = Promise.withResolvers<void>();
  await node.startHost({ barrier: () => gate.promise });
  add(testPod('web'));
  await eventually('the address is known', () => node.pods.get('uid-web')!.status?.podIP);
  assert.equal(node.host.localPods().length, 1);
  assert.deepEqual(await node.host.standIn.status(), []);
  assert.equal(isReady(node.pods.get('uid-web')), false);
  gate.resolve();
  await ready('web');
});

test('a restarted agent adopts what runs, without a change to it', async () => {
  node.startStandIn();
  await node.startHost();
  add(testPod('web', { containers: [{ name: 'a', image: 'a', readinessProbe: { httpGet: { port: 80 } } }] }));
  await ready('web');
  const before = node.host.localPods();
  const index = node.route.link(before[0]!.interface)!.index;
  const writes = node.patches.length;
  await node.stopHost();
  await node.startHost();
  const known = await node.host.attachments();
  assert.ok(known.has('uid-web'), 'who asks what is wanted waits until all is found again');
  await eventually(
    'the pod is adopted',
    () => node.host.status().adopted === 1 && node.host.status().ready === 1,
  );
  assert.deepEqual(node.host.localPods(), before);
  assert.equal(node.route.link(before[0]!.interface)!.index, index, 'the link is the same');
  assert.equal(node.patches.length, writes, 'its status was not written again');
  assert.equal(node.host.status().setUps, 0);
});

test('a pod that vanished while the agent was away is removed', async () => {
  node.startStandIn();
  await node.startHost();
  add(testPod('web'), testPod('other'));
  await ready('web');
  await ready('other');
  await node.stopHost();
  node.pods.delete('uid-web');
  await node.startHost();
  await eventually('the orphan is gone', () => node.host.localPods().length === 1 && links().length === 1);
  assert.equal(node.ipam.list().length, 1);
});

test('a stand-in server that comes back serves again, with and without its memory', async () => {
  node.startStandIn();
  await node.startHost();
  add(testPod('web'));
  await ready('web');
  const reach = () =>
    node.host.standIn
      .connect({ uid: 'uid-web', host: '127.0.0.1', port: 8080, kind: 'http' })
      .catch(() => ({ ok: false }));
  await node.stopHost();
  await node.stopStandIn();
  node.startStandIn();
  await eventually('it serves without an agent', async () => (await reach()).ok);
});

test('a pod that asks for a runtime which is not there is refused by name', async () => {
  node.startStandIn();
  await node.startHost();
  const pod = testPod('docker');
  pod.metadata.annotations = { 'heddle.dev/runtime': 'docker' };
  add(pod);
  const waiting = () => node.pods.get('uid-docker')?.status?.containerStatuses?.[0]?.state?.waiting;
  await eventually('it is refused', () => waiting()?.reason === 'NoRuntime');
  assert.match(waiting()?.message ?? '', /there is no runtime "docker"/);
});

test('a pod that asks for the processes of the machine is refused by name', async () => {
  node.startStandIn();
  await node.startHost();
  add(testPod('web', { hostPID: true }));
  const waiting = await eventually(
    'it is refused',
    () => node.pods.get('uid-web')!.status?.containerStatuses?.[0]?.state?.waiting,
  );
  assert.equal(waiting.reason, 'HostAccessRefused');
  assert.match(waiting.message!, /spec\.hostPID: .*--allow-host/);
  assert.deepEqual(links(), []);
  const { patches } = node;
  const written = patches.length;
  add(testPod('web', { hostPID: true, priority: 1 }));
  await eventually('it is looked at again', () => patches.length > written || node.host.status().pods === 1);
  const events = node.events.filter(({ pod }) => pod === 'web');
  assert.deepEqual(
    events.map(({ type, reason }) => [type, reason]),
    [['Warning', 'FailedCreatePodSandBox']],
    'told once',
  );
  assert.match(events[0]!.message, /^HostAccessRefused: spec\.hostPID/);
});

test('a pod on the network of its node has its addresses and ports, and takes nothing of it along', async () => {
  node.startStandIn();
  // Its node's data path is told of no such pod: there is nothing to wait for.
  await node.startHost({ barrier: () => new Promise(() => {}) });
  const ports = [{ containerPort: 8080, hostPort: 8080 }];
  add(
    testPod('web', {
      hostNetwork: true,
      hostname: 'other',
      containers: [{ name: 'main', image: 'i', ports }],
    }),
  );
  await ready('web');
  const { status } = node.pods.get('uid-web')!;
  assert.deepEqual([status?.podIP, status?.podIPs], ['10.9.0.1', [{ ip: '10.9.0.1' }, { ip: 'fd00:9::1' }]]);
  assert.deepEqual([links(), node.host.localPods(), node.ipam.list()], [[], [], []]);
  const hosts = readFileSync(join(node.host.folder('uid-web'), 'hosts'), 'utf8');
  assert.match(hosts, /^10\.9\.0\.1 node-1\nfd00:9::1 node-1$/m);
  const reach = (host: string) =>
    node.host.standIn
      .connect({ uid: 'uid-web', host, port: 8080, kind: 'http' })
      .catch(() => ({ ok: false }));
  assert.ok((await reach('10.9.0.1')).ok && (await reach('fd00:9::1')).ok);

  await node.stopHost();
  await node.startHost();
  await eventually('it is taken over', () => node.host.find('shop', 'web')?.ready());
  assert.equal(node.host.status().adopted, 1);
  node.pods.clear();
  node.changed();
  await eventually('it is gone', () => node.host.status().pods === 0);
  assert.ok(existsSync(node.ns.path));
});

test('a pod is set up again after a failure', async () => {
  node.startStandIn();
  for (let i = 0; i < 253; i++) await node.ipam.allocate({ key: `x${i}/eth0`, label: 'shop/many' });
  await node.startHost();
  add(testPod('web'));
  const waiting = await eventually(
    'the trouble is told',
    () => node.pods.get('uid-web')!.status?.containerStatuses?.[0]?.state?.waiting?.message,
  );
  assert.match(waiting, /10\.9\.1\.0\/24/);
  assert.ok(
    node.events.some(({ reason, message }) => reason === 'FailedCreatePodSandBox' && message === waiting),
  );
  await node.ipam.release('x7/eth0');
  await ready('web');
});

function terminate(name: string) {
  const pod = node.pods.get(`uid-${name}`)!;
  pod.metadata = {
    ...pod.metadata,
    deletionTimestamp: '2026-01-01T00:00:00Z',
    deletionGracePeriodSeconds: 30,
  };
  node.changed();
}

test('a pod that is deleted while it waits for the data path goes at once', async () => {
  node.startStandIn();
  await node.startHost({
    barrier: (_pod, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  });
  add(testPod('web'));
  await eventually('the link is there', () => links().length === 1);
  terminate('web');
  await eventually('the pod is deleted', () => node.pods.size === 0);
  assert.deepEqual(links(), []);
});

test('a deletion that the API server does not take is tried again', async () => {
  node.startStandIn();
  let refusals = 2;
  await node.startHost({
    async deletePod(pod) {
      if (refusals-- > 0) throw new Error('the API server is away');
      node.pods.delete(pod.metadata.uid!);
      node.changed();
    },
  });
  add(testPod('web'));
  await ready('web');
  terminate('web');
  await eventually('the pod is deleted', () => node.pods.size === 0);
  assert.equal(node.host.status().tearDowns, 1);
});

test('a status that the API server does not take is written later, and once', async () => {
  node.startStandIn();
  let refusals = 2;
  const seen: string[] = [];
  await node.startHost({
    async patchPodStatus(pod, status) {
      if (refusals-- > 0) throw new Error('the API server is away');
      seen.push(status.conditions!.find(({ type }) => type === 'Ready')!.status);
      node.pods.set('uid-web', { ...pod, status });
      node.changed();
    },
  });
  add(testPod('web'));
  await ready('web');
  assert.equal(seen.at(-1), 'True');
  assert.ok(seen.length <= 2, seen.join());
});

test('pods go while no stand-in server runs', async () => {
  node.startStandIn();
  await node.startHost();
  add(testPod('web'));
  await ready('web');
  await node.stopStandIn();
  terminate('web');
  await eventually('the pod is deleted', () => node.pods.size === 0);
  assert.deepEqual(links(), []);
});

test('a port that a service asks for later is opened', async () => {
  node.startStandIn();
  const more: { port: number; protocol: string }[] = [];
  await node.startHost({ extraPorts: () => more });
  add(testPod('web'));
  await ready('web');
  more.push({ port: 7000, protocol: 'TCP' });
  node.changed();
  await eventually('7000 answers', async () => {
    const result = await node.host.standIn.connect({
      uid: 'uid-web',
      host: '127.0.0.1',
      port: 7000,
      kind: 'tcp',
    });
    return result.ok;
  });
  await toldOfAnnotations();
});

/** Of the pod that runs: what cannot be read is told, what can be is done, and both follow a change. */
async function toldOfAnnotations(): Promise<void> {
  const annotate = (annotations: Record<string, string>) => {
    const pod = node.pods.get('uid-web')!;
    add({ ...pod, metadata: { ...pod.metadata, annotations } });
  };
  const told = () =>
    node.pods
      .get('uid-web')!
      .status!.conditions!.find(({ type }) => type === 'heddle.dev/StandInAnnotations');
  const statusOf = async () => {
    const to = { uid: 'uid-web', host: '127.0.0.1', port: 8080, kind: 'http' } as const;
    return (await node.host.standIn.connect(to)).status;
  };
  annotate({ 'heddle.dev/stand-in-error-rate': '100%,status=507', 'heddle.dev/stand-in-latency': 'soon' });
  const condition = await eventually('the pod says what is wrong', told);
  assert.match(condition.message!, /^heddle\.dev\/stand-in-latency: "soon" must be a duration/);
  assert.deepEqual(
    node.events.map(({ pod, type, reason }) => [pod, type, reason]),
    [['web', 'Warning', 'InvalidAnnotation']],
  );
  await eventually('answers are errors', async () => (await statusOf()) === 507);
  annotate({});
  await eventually('nothing is wrong any more', () => !told());
  await eventually('answers are as before', async () => (await statusOf()) === 200);
}

test('a pod beyond the node’s room fails, is told why, and goes when it is deleted; what was there stays', async (t) => {
  const small = await createTestNode({
    node: () => ({ allocatable: { cpu: '1', pods: '2' }, pressures: [] }),
  });
  t.after(() => small.close());
  small.startStandIn();
  await small.startHost();
  const asking = (name: string, cpu: string) => {
    const pod = testPod(name);
    pod.spec!.containers[0]!.resources = { requests: { cpu } };
    small.pods.set(`uid-${name}`, pod);
    small.changed();
  };
  const statusOf = (name: string) => small.pods.get(`uid-${name}`)?.status;
  asking('first', '700m');
  asking('second', '400m');
  await eventually('the second has failed', () => statusOf('second')?.phase === 'Failed');
  assert.equal(statusOf('second')?.reason, 'OutOfcpu');
  assert.deepEqual(
    small.events.filter(({ pod }) => pod === 'second').map(({ reason }) => reason),
    ['OutOfcpu'],
  );
  await eventually('the first runs', () => isReady(small.pods.get('uid-first')));
  await small.stopHost();
  asking('third', '400m');
  await small.startHost();
  await eventually('a restarted agent counts what it has', () => statusOf('third')?.reason === 'OutOfcpu');
  assert.ok(isReady(small.pods.get('uid-first')));
  const ran = testPod('ran');
  ran.spec!.containers[0]!.resources = { requests: { cpu: '9' } };
  small.pods.set('uid-ran', { ...ran, status: { phase: 'Running' } });
  small.changed();
  await eventually('one that ran before its node was down runs again', () =>
    isReady(small.pods.get('uid-ran')),
  );
  const second = small.pods.get('uid-second')!;
  const deletionTimestamp = '2026-01-01T00:00:00Z';
  small.pods.set('uid-second', { ...second, metadata: { ...second.metadata, deletionTimestamp } });
  small.changed();
  await eventually('it goes', () => !small.pods.has('uid-second'));
});
