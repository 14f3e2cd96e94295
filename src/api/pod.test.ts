import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment } from './deployment.ts';
import { pod } from './pod.ts';
import { podState } from './pod-columns.ts';
import type { Deployment, Pod } from './types.ts';

const make = (spec: unknown, status: unknown = {}): Pod =>
  pod.applyDefaults({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n' },
    spec,
    status,
  } as Pod);
const one = (container: object) => ({ containers: [{ name: 'a', image: 'i', ...container }] });
const errorsOf = (spec: unknown) => pod.validate(make(spec)).map((e) => `${e.field}: ${e.message}`);

test('a pod is completed as Kubernetes completes it', () => {
  const { spec, status } = make(
    one({
      ports: [{ containerPort: 80 }],
      readinessProbe: { httpGet: { port: 80 } },
      livenessProbe: { grpc: { port: 1 } },
    }),
  );
  assert.equal(spec?.restartPolicy, 'Always');
  assert.equal(spec?.dnsPolicy, 'ClusterFirst');
  assert.equal(spec?.terminationGracePeriodSeconds, 30);
  assert.equal(spec?.enableServiceLinks, true);
  const [container] = spec?.containers ?? [];
  assert.deepEqual(container?.ports, [{ containerPort: 80, protocol: 'TCP' }]);
  assert.deepEqual(container?.readinessProbe, {
    httpGet: { port: 80, path: '/', scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  assert.equal(container?.livenessProbe?.grpc?.service, '');
  assert.equal(status?.phase, 'Pending');
  assert.equal(status?.qosClass, 'BestEffort');
});

for (const [image, policy] of [
  ['nginx', 'Always'],
  ['nginx:latest', 'Always'],
  ['nginx:1', 'IfNotPresent'],
  ['host:5000/nginx', 'Always'],
  ['host:5000/nginx:1.2', 'IfNotPresent'],
  ['nginx@sha256:00', 'IfNotPresent'],
] as const)
  test(`${image} is pulled ${policy}`, () =>
    assert.equal(make(one({ image })).spec?.containers[0]?.imagePullPolicy, policy));

test('limits are requests where none are written; the class follows from both', () => {
  const whole = make(one({ resources: { limits: { cpu: '1', memory: '1Gi' } } }));
  assert.deepEqual(whole.spec?.containers[0]?.resources?.requests, { cpu: '1', memory: '1Gi' });
  assert.equal(whole.status?.qosClass, 'Guaranteed');
  assert.equal(make(one({ resources: { requests: { cpu: '1' } } })).status?.qosClass, 'Burstable');
});

const good: [string, unknown][] = [
  ['the least', one({})],
  [
    'a mount of a volume',
    { ...one({ volumeMounts: [{ name: 'v', mountPath: '/v' }] }), volumes: [{ name: 'v' }] },
  ],
  [
    'a sidecar with probes',
    {
      ...one({}),
      initContainers: [
        { name: 's', image: 'i', restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 1 } } },
      ],
    },
  ],
  [
    'environment from all over',
    one({
      env: [
        { name: 'A', value: 'x' },
        { name: 'B', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'C', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
      ],
    }),
  ],
];
for (const [name, spec] of good) test(`accepted: ${name}`, () => assert.deepEqual(errorsOf(spec), []));

const bad: [string, unknown, RegExp][] = [
  ['no containers', { containers: [] }, /spec\.containers: Required/],
  ['no image', { containers: [{ name: 'a' }] }, /containers\[0\]\.image: Required/],
  [
    'a container name twice',
    {
      containers: [
        { name: 'a', image: 'i' },
        { name: 'a', image: 'i' },
      ],
    },
    /containers\[1\]\.name: Duplicate/,
  ],
  ['a container name that is none', one({ name: 'A_b' }), /name: Invalid value: "A_b"/],
  [
    'a port name twice',
    one({
      ports: [
        { name: 'x', containerPort: 1 },
        { name: 'x', containerPort: 2 },
      ],
    }),
    /ports\[1\]\.name: Duplicate/,
  ],
  ['port 0', one({ ports: [{ containerPort: 0 }] }), /containerPort: Required/],
  [
    'a host port twice',
    {
      containers: [
        {
          name: 'a',
          image: 'i',
          ports: [
            { containerPort: 1, hostPort: 9 },
            { containerPort: 2, hostPort: 9 },
          ],
        },
      ],
    },
    /hostPort: Duplicate/,
  ],
  ['a probe of nothing', one({ livenessProbe: {} }), /livenessProbe: Required value: must specify a handler/],
  [
    'a probe of two things',
    one({ livenessProbe: { exec: { command: ['a'] }, tcpSocket: { port: 1 } } }),
    /tcpSocket: Forbidden/,
  ],
  [
    'a probe of a port too high',
    one({ readinessProbe: { tcpSocket: { port: 99999 } } }),
    /tcpSocket\.port: Invalid/,
  ],
  [
    'liveness twice to be sure',
    one({ livenessProbe: { tcpSocket: { port: 1 }, successThreshold: 2 } }),
    /successThreshold.*must be 1/,
  ],
  [
    'a probe on an init container',
    { ...one({}), initContainers: [{ name: 's', image: 'i', livenessProbe: { tcpSocket: { port: 1 } } }] },
    /livenessProbe: Forbidden/,
  ],
  [
    'a mount of nothing',
    one({ volumeMounts: [{ name: 'v', mountPath: '/v' }] }),
    /volumeMounts\[0\]\.name: Not found: "v"/,
  ],
  [
    'two mounts at one place',
    {
      ...one({
        volumeMounts: [
          { name: 'v', mountPath: '/v' },
          { name: 'v', mountPath: '/v' },
        ],
      }),
      volumes: [{ name: 'v' }],
    },
    /mountPath.*unique/,
  ],
  [
    'a volume of two sources',
    { ...one({}), volumes: [{ name: 'v', emptyDir: {}, hostPath: { path: '/' } }] },
    /more than 1 volume type/,
  ],
  [
    'environment from two places',
    one({ env: [{ name: 'A', value: 'x', valueFrom: { fieldRef: { fieldPath: 'x' } } }] }),
    /valueFrom.*not empty/,
  ],
  ['environment without a name', one({ env: [{ value: 'x' }] }), /env\[0\]\.name/],
  [
    'a request over its limit',
    one({ resources: { limits: { cpu: '100m' }, requests: { cpu: 1 } } }),
    /less than or equal to cpu limit/,
  ],
  ['a quantity that is none', one({ resources: { limits: { cpu: '1 core' } } }), /quantities must match/],
  ['a restart policy that is none', { ...one({}), restartPolicy: 'Sometimes' }, /restartPolicy: Unsupported/],
  ['own DNS without servers', { ...one({}), dnsPolicy: 'None' }, /nameservers: Required/],
  [
    'a toleration of seconds without effect',
    { ...one({}), tolerations: [{ key: 'a', operator: 'Exists', tolerationSeconds: 1 }] },
    /effect must be 'NoExecute'/,
  ],
];
for (const [name, spec, expected] of bad)
  test(`refused: ${name}`, () => {
    const errors = errorsOf(spec);
    assert.ok(
      errors.some((e) => expected.test(e)),
      errors.join('\n'),
    );
  });

test('of a pod that exists, images and the node it is bound to may change, little else', () => {
  const before = make(one({}));
  const change = (edit: (p: Pod) => void) => {
    const now = make(one({}));
    edit(now);
    return pod.validateUpdate(now, before);
  };
  assert.deepEqual(
    change((p) => (p.spec!.containers[0]!.image = 'other')),
    [],
  );
  assert.deepEqual(
    change((p) => (p.spec!.nodeName = 'node-1')),
    [],
  );
  assert.deepEqual(
    change((p) => (p.spec!.tolerations = [{ operator: 'Exists' }])),
    [],
  );
  assert.equal(change((p) => (p.spec!.containers[0]!.command = ['x'])).length, 1);
  assert.equal(change((p) => (p.spec!.hostname = 'x')).length, 1);
  const bound = make({ ...one({}), nodeName: 'node-1' });
  assert.equal(pod.validateUpdate(make({ ...one({}), nodeName: 'node-2' }), bound).length, 1);
});

const status = (state: object, more: object = {}) => ({
  name: 'a',
  image: '',
  imageID: '',
  ready: false,
  restartCount: 0,
  state,
  ...more,
});
const states: [string, string, unknown][] = [
  ['Pending', 'Pending', {}],
  ['Running', 'Running', { phase: 'Running', containerStatuses: [status({ running: {} }, { ready: true })] }],
  [
    'a container waiting',
    'CrashLoopBackOff',
    { phase: 'Running', containerStatuses: [status({ waiting: { reason: 'CrashLoopBackOff' } })] },
  ],
  [
    'a container ended',
    'Error',
    { phase: 'Failed', containerStatuses: [status({ terminated: { exitCode: 1, reason: 'Error' } })] },
  ],
  [
    'a container ended without reason',
    'ExitCode:3',
    { containerStatuses: [status({ terminated: { exitCode: 3 } })] },
  ],
  [
    'an init container at work',
    'Init:0/1',
    {
      initContainerStatuses: [status({ running: {} })],
      containerStatuses: [status({ waiting: { reason: 'PodInitializing' } })],
    },
  ],
  [
    'init containers done',
    'Running',
    {
      phase: 'Running',
      initContainerStatuses: [status({ terminated: { exitCode: 0, reason: 'Completed' } })],
      containerStatuses: [status({ running: {} }, { ready: true })],
    },
  ],
  ['evicted', 'Evicted', { phase: 'Failed', reason: 'Evicted' }],
];
for (const [name, expected, given] of states)
  test(`state of a pod: ${name} is ${expected}`, () =>
    assert.equal(
      podState(make({ ...one({}), initContainers: [{ name: 'a', image: 'i' }] }, given)),
      expected,
    ));

test('a pod that is being deleted is Terminating', () => {
  const p = make(one({}), { phase: 'Running' });
  p.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
  assert.equal(podState(p), 'Terminating');
});

const deploy = (spec: object): Deployment =>
  deployment.applyDefaults({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', namespace: 'n' },
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: one({}) },
      ...spec,
    },
  });
const deployErrors = (spec: object) =>
  deployment.validate(deploy(spec)).map((e) => `${e.field}: ${e.message}`);

test('a deployment is completed as Kubernetes completes it', () => {
  const { spec } = deploy({});
  assert.equal(spec?.replicas, 1);
  assert.deepEqual(spec?.strategy, {
    type: 'RollingUpdate',
    rollingUpdate: { maxUnavailable: '25%', maxSurge: '25%' },
  });
  assert.equal(spec?.template.spec?.restartPolicy, 'Always');
  assert.equal(spec?.template.spec?.enableServiceLinks, undefined);
  assert.deepEqual(deployErrors({}), []);
});

for (const [name, spec, expected] of [
  [
    'a selector that does not find its pods',
    { selector: { matchLabels: { a: 'c' } } },
    /template\.metadata\.labels.*does not match/,
  ],
  ['an empty selector', { selector: {} }, /spec\.selector.*empty selector/],
  ['fewer than no pods', { replicas: -1 }, /spec\.replicas.*greater than or equal to 0/],
  [
    'pods that do not restart',
    { template: { metadata: { labels: { a: 'b' } }, spec: { ...one({}), restartPolicy: 'Never' } } },
    /restartPolicy: Unsupported/,
  ],
  ['a strategy that is none', { strategy: { type: 'Canary' } }, /strategy\.type: Unsupported/],
  [
    'steps of a strategy without steps',
    { strategy: { type: 'Recreate', rollingUpdate: {} } },
    /rollingUpdate: Forbidden/,
  ],
  [
    'a strategy that cannot move',
    { strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } } },
    /may not be 0 when/,
  ],
  ['a share that is none', { strategy: { rollingUpdate: { maxSurge: 'half' } } }, /percent/],
  [
    'a template with a wrong container',
    { template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'a' }] } } },
    /spec\.template\.spec\.containers\[0\]\.image: Required/,
  ],
] as const)
  test(`refused: a deployment with ${name}`, () => {
    const errors = deployErrors(spec);
    assert.ok(
      errors.some((e) => expected.test(e)),
      errors.join('\n'),
    );
  });

test('the selector of a deployment stays', () => {
  assert.equal(deployment.validateUpdate(deploy({ replicas: 3 }), deploy({})).length, 0);
  assert.match(
    deployment.validateUpdate(deploy({ selector: { matchLabels: { x: 'y' } } }), deploy({}))[0]?.field ?? '',
    /spec\.selector/,
  );
});

test('no file of a volume lies outside of it, whatever its source', () => {
  const item = (path: string) => ({ items: [{ key: 'k', path, fieldRef: { fieldPath: 'metadata.name' } }] });
  const sources = (path: string) => ({
    configMap: { name: 'c', ...item(path) },
    secret: { secretName: 's', name: 's', ...item(path) },
    downwardAPI: item(path),
  });
  for (const [path, words] of [
    ['../x', "must not contain '..'"],
    ['a/../../x', "must not contain '..'"],
    ['/x', 'must be a relative path'],
    ['..data', "must not start with '..'"],
  ] as const)
    for (const [kind, source] of Object.entries(sources(path))) {
      const volumes = [
        { name: 'a', [kind]: source },
        { name: 'b', projected: { sources: [{ [kind]: source }] } },
      ];
      assert.deepEqual(
        errorsOf({ ...one({}), volumes }).map((text) => text.replace(/(: )".*": /, '$1')),
        [
          `spec.volumes[0].${kind}.items[0].path: Invalid value: ${words}`,
          `spec.volumes[1].projected.sources[0].${kind}.items[0].path: Invalid value: ${words}`,
        ],
      );
    }
});
