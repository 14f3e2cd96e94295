import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../api/types.ts';
import { encodeFrame, createFrameReader } from './exec-protocol.ts';
import { hostsOf } from './files.ts';
import { createHealth } from './health/watcher.ts';
import { portsOf, probePort } from './ports.ts';
import { candidates, encodeQuery, parseAnswer } from './probe/resolve.ts';
import { type PodFacts, podStatus } from './status.ts';
import { sameAs } from './status-writer.ts';
import { testPod } from './test-node.ts';
import { podUserId } from './user-id.ts';
import fc from 'fast-check';

const facts = (change: Partial<PodFacts> = {}): PodFacts => ({
  hostAddresses: ['10.240.0.11', 'fd00:10:240::b'],
  addresses: ['10.244.0.2', 'fd00:10:244::2'],
  startTime: '2026-01-01T00:00:00Z',
  runningSince: '2026-01-01T00:00:01Z',
  barrier: true,
  containers: new Map([['main', { ready: true, started: true, restarts: 0 }]]),
  terminating: false,
  trouble: undefined,
  written: undefined,
  now: '2026-01-01T00:00:02Z',
  ...change,
});
const conditionsOf = (pod: Pod, some: PodFacts) =>
  Object.fromEntries(podStatus(pod, some).conditions!.map(({ type, status }) => [type, status]));

test('a pod that runs and passes is Ready, with all that a kubelet says of it', () => {
  const status = podStatus(testPod('web'), facts());
  assert.equal(status.phase, 'Running');
  assert.deepEqual(status.podIPs, [{ ip: '10.244.0.2' }, { ip: 'fd00:10:244::2' }]);
  assert.equal(status.hostIP, '10.240.0.11');
  assert.deepEqual(
    status.conditions!.map(({ type, status }) => `${type} ${status}`),
    [
      'PodReadyToStartContainers True',
      'Initialized True',
      'Ready True',
      'ContainersReady True',
      'PodScheduled True',
    ],
  );
  assert.deepEqual(status.containerStatuses![0]!.state, { running: { startedAt: '2026-01-01T00:00:01Z' } });
});

for (const [what, change, ready, containers] of [
  ['before it runs', { runningSince: undefined }, 'False', 'False'],
  ['while its probe fails', { containers: new Map() }, 'False', 'False'],
  ['until the data path has it', { barrier: false }, 'False', 'True'],
  ['when it is to go', { terminating: true }, 'False', 'False'],
] as const)
  test(`a pod is not Ready ${what}`, () => {
    const all = conditionsOf(testPod('web'), facts(change));
    assert.equal(all['Ready'], ready);
    assert.equal(all['ContainersReady'], containers);
  });

test('readiness gates hold Ready back, and foreign conditions stay', () => {
  const pod = testPod('web', { readinessGates: [{ conditionType: 'lb/ok' }] });
  assert.equal(conditionsOf(pod, facts())['Ready'], 'False');
  pod.status = { conditions: [{ type: 'lb/ok', status: 'True' }] };
  assert.equal(conditionsOf(pod, facts())['Ready'], 'True');
  assert.equal(conditionsOf(pod, facts())['lb/ok'], 'True');
});

test('a condition keeps its time until it turns', () => {
  const pod = testPod('web');
  const first = podStatus(pod, facts());
  const later = podStatus(pod, facts({ written: first, barrier: false, now: '2026-01-01T01:00:00Z' }));
  const times = Object.fromEntries(
    later.conditions!.map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
  );
  assert.equal(times['ContainersReady'], '2026-01-01T00:00:02Z');
  assert.equal(times['Ready'], '2026-01-01T01:00:00Z');
});

test('init containers are done, sidecars run', () => {
  const pod = testPod('web', {
    initContainers: [
      { name: 'init', image: 'i' },
      { name: 'side', image: 's', restartPolicy: 'Always' },
    ],
  });
  const [init, side] = podStatus(pod, facts()).initContainerStatuses!;
  assert.equal(init!.state!.terminated!.reason, 'Completed');
  assert.ok(side!.state!.running);
});

test('the class of service follows requests and limits', () => {
  const pod = (resources: object) => testPod('web', { containers: [{ name: 'a', image: 'a', resources }] });
  const qosClass = (one: Pod) => podStatus(one, facts()).qosClass;
  assert.equal(qosClass(pod({})), 'BestEffort');
  assert.equal(qosClass(pod({ requests: { cpu: '1' } })), 'Burstable');
  assert.equal(qosClass(pod({ limits: { cpu: '1', memory: '1Gi' } })), 'Guaranteed');
  assert.equal(
    qosClass(pod({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } })),
    'Guaranteed',
  );
  assert.equal(
    qosClass(pod({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '500m' } })),
    'Burstable',
  );
});

test('ports are those declared, probed and asked for by services', () => {
  const pod = testPod('web', {
    containers: [
      {
        name: 'a',
        image: 'a',
        ports: [
          { containerPort: 80, name: 'http' },
          { containerPort: 53, protocol: 'UDP' },
          { containerPort: 9, protocol: 'SCTP' },
        ],
        readinessProbe: { httpGet: { port: 'http' } },
        livenessProbe: { tcpSocket: { port: 8081 } },
        startupProbe: { grpc: { port: 9000 } },
      },
    ],
  });
  const ports = portsOf(pod, [
    { port: 7000, protocol: 'TCP' },
    { port: 0, protocol: 'TCP' },
  ]);
  assert.deepEqual(ports.tcp, [80, 7000, 8081, 9000]);
  assert.deepEqual(ports.udp, [53]);
  assert.match(ports.notes.join(), /port 9 is SCTP/);
  const container = pod.spec!.containers[0]!;
  assert.equal(probePort(container, { httpGet: { port: 'http' } }), 80);
  assert.equal(probePort(container, { httpGet: { port: 'nope' } }), undefined);
});

test('a pod knows itself in /etc/hosts', () => {
  const pod = testPod('web-0', {
    hostname: 'web-0',
    subdomain: 'web',
    hostAliases: [{ ip: '1.2.3.4', hostnames: ['x', 'y'] }],
  });
  const text = hostsOf(pod, ['10.244.0.2'], 'cluster.local');
  assert.match(text, /^10\.244\.0\.2 web-0\.web\.shop\.svc\.cluster\.local web-0$/m);
  assert.match(text, /^1\.2\.3\.4 x y$/m);
});

test('names are searched as resolv.conf says', () => {
  const conf = { nameservers: [], search: ['a.svc', 'svc'], ndots: 2 };
  assert.deepEqual(candidates('web', conf), ['web.a.svc', 'web.svc', 'web']);
  assert.deepEqual(candidates('x.y.z', conf), ['x.y.z', 'x.y.z.a.svc', 'x.y.z.svc']);
  assert.deepEqual(candidates('web.', conf), ['web']);
});

test('an answer of DNS is read, and a broken one is an error, never a hang', () => {
  const query = encodeQuery('web.svc', 'A', 7);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 9]);
  const answer = Buffer.concat([query, record]);
  answer.writeUInt16BE(0x8180, 2);
  answer.writeUInt16BE(1, 6);
  assert.deepEqual(parseAnswer(answer, 'A'), ['10.0.0.9']);
  answer[3] = 0x83;
  assert.deepEqual(parseAnswer(answer, 'A'), []);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 12, maxLength: 100 }), (bytes) => {
      try {
        parseAnswer(Buffer.from(bytes), 'A');
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
  );
});

test('frames survive any cut', () => {
  const frames = fc.array(fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 50 })), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 20 }), (some, size) => {
      const bytes = Buffer.concat(some.map(([type, payload]) => encodeFrame(type, payload)));
      const got: [number, number[]][] = [];
      const read = createFrameReader((type, payload) => got.push([type, [...payload]]));
      for (let at = 0; at < bytes.length; at += size) read(bytes.subarray(at, at + size));
      assert.deepEqual(
        got,
        some.map(([type, payload]) => [type, [...payload]]),
      );
    }),
  );
});

test('a frame that claims too much is refused', () => {
  const head = Buffer.from([0, 255, 255, 255, 255]);
  assert.throws(() => createFrameReader(() => {})(head), /longer than/);
});

test('a status is written only when it says something else', () => {
  assert.ok(sameAs({ a: 1, b: [{ c: 2, d: 3 }] }, { a: 1, b: [{ c: 2 }] }));
  assert.ok(!sameAs({ a: 1 }, { a: 2 }));
  assert.ok(!sameAs({ b: [1] }, { b: [1, 2] }));
  assert.ok(!sameAs(undefined, { a: 1 }));
  assert.ok(sameAs(undefined, {}));
});

test('user ids are far from those of people and fit 31 bits', () => {
  fc.assert(
    fc.property(fc.string(), (uid) => {
      const id = podUserId(uid);
      assert.ok(id >= 0x4000_0000 && id < 0x7fff_ffff);
      assert.equal(id, podUserId(uid));
    }),
  );
});

/** Time that passes only when it is slept. */
function sleepingClock() {
  let at = 0;
  return {
    now: () => at,
    monotonic: () => at,
    async sleep(ms: number, signal?: AbortSignal) {
      at += ms;
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    },
  };
}

test('probes count failures up to the threshold, and a pod recovers', async () => {
  const outcomes = [undefined, 'no', 'no', undefined, 'no', 'no', 'no', undefined];
  const seen: boolean[] = [];
  const stop = new AbortController();
  const pod = testPod('web', {
    containers: [{ name: 'main', image: 'm', readinessProbe: { httpGet: { port: 1 }, failureThreshold: 3 } }],
  });
  const health = createHealth({
    pod,
    address: '10.0.0.1',
    adopted: false,
    async check() {
      if (outcomes.length === 0) stop.abort(new Error('enough'));
      return outcomes.shift();
    },
    onChange: () => seen.push(health.containers().get('main')!.ready),
    onFailure: () => {},
    clock: sleepingClock(),
  });
  await health.run(stop.signal);
  assert.deepEqual(seen, [true, false, true]);
});

test('readiness waits for the startup probe', async () => {
  const stop = new AbortController();
  let starts = 0;
  const order: string[] = [];
  const pod = testPod('web', {
    containers: [
      {
        name: 'main',
        image: 'm',
        startupProbe: { tcpSocket: { port: 1 } },
        readinessProbe: { tcpSocket: { port: 2 } },
      },
    ],
  });
  const health = createHealth({
    pod,
    address: '10.0.0.1',
    adopted: false,
    async check(_probe, { port }) {
      order.push(String(port));
      if (order.length > 5) stop.abort(new Error('enough'));
      return port === 1 && starts++ < 2 ? 'not yet' : undefined;
    },
    onChange: () => {},
    onFailure: () => {},
    clock: sleepingClock(),
  });
  await health.run(stop.signal);
  assert.deepEqual(order.slice(0, 4), ['1', '1', '1', '2']);
  assert.ok(health.containers().get('main')!.ready);
});
