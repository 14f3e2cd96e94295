import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Harness, startHarness } from './testing/harness.ts';

let api: Harness;
before(async () => {
  api = await startHarness();
  const spec = {
    containers: [{ name: 'main', image: 'i' }],
    initContainers: [{ name: 'first', image: 'i' }],
    volumes: [{ name: 'data', emptyDir: {} }],
  };
  await api.request('POST', '/api/v1/namespaces/default/pods', { body: { metadata: { name: 'web' }, spec } });
});
after(() => api.close());

const path = '/api/v1/namespaces/default/pods/web';
const add = (container: object, type = 'application/strategic-merge-patch+json') =>
  api.request('PATCH', `${path}/ephemeralcontainers`, {
    body: { spec: { ephemeralContainers: [container], nodeName: 'elsewhere' } },
    type,
  });

test('containers are added to a pod through the subresource, and nothing else is changed by it', async () => {
  const added = await add({ name: 'look', image: 'busybox', stdin: true, targetContainerName: 'main' });
  assert.equal(added.status, 200, added.text);
  const { spec, metadata } = added.json;
  assert.equal(spec.nodeName, undefined);
  assert.equal(metadata.generation, 2);
  assert.equal(spec.ephemeralContainers[0].terminationMessagePath, '/dev/termination-log');
  const second = await add({ name: 'again', image: 'busybox' });
  assert.deepEqual(
    second.json.spec.ephemeralContainers.map(({ name }: { name: string }) => name),
    ['look', 'again'],
  );
});

for (const [what, container, words] of [
  [
    'ports',
    { name: 'x', image: 'i', ports: [{ containerPort: 80 }] },
    /ephemeralContainers\[\d\]\.ports: Forbidden: cannot be set for an Ephemeral Container/,
  ],
  [
    'probes',
    { name: 'x', image: 'i', livenessProbe: { tcpSocket: { port: 1 } } },
    /livenessProbe: Forbidden/,
  ],
  ['limits', { name: 'x', image: 'i', resources: { limits: { cpu: '1' } } }, /resources: Forbidden/],
  [
    'part of a volume',
    { name: 'x', image: 'i', volumeMounts: [{ name: 'data', mountPath: '/d', subPath: 'a' }] },
    /volumeMounts\[0\]\.subPath: Forbidden/,
  ],
  ['a name that is taken', { name: 'first', image: 'i' }, /name: Duplicate value: "first"/],
  ['no image', { name: 'x' }, /image: Required value/],
  [
    'a target that is not there',
    { name: 'x', image: 'i', targetContainerName: 'nosuch' },
    /targetContainerName: Not found: "nosuch"/,
  ],
  [
    'a change of one that is there',
    { name: 'look', image: 'other' },
    /existing ephemeral containers "look" may not be changed/,
  ],
] as const)
  test(`an added container is refused for ${what}`, async () => {
    await add({ name: 'look', image: 'busybox', stdin: true, targetContainerName: 'main' });
    const { status, json } = await add(container);
    assert.equal(status, 422);
    assert.match(json.message, words);
  });

test('added containers are not removed, not made with a pod, and not by way of the pod itself', async () => {
  await add({ name: 'look', image: 'busybox', stdin: true, targetContainerName: 'main' });
  const none = await api.request('PATCH', `${path}/ephemeralcontainers`, {
    body: { spec: { ephemeralContainers: null } },
    type: 'application/merge-patch+json',
  });
  assert.match(none.json.message, /existing ephemeral containers "look" may not be removed/);
  const plain = await api.request('PATCH', path, {
    body: { spec: { ephemeralContainers: [{ name: 'x', image: 'i' }] } },
    type: 'application/strategic-merge-patch+json',
  });
  assert.match(plain.json.message, /subresource ephemeralcontainers only/);
  const spec = { containers: [{ name: 'c', image: 'i' }], ephemeralContainers: [{ name: 'x', image: 'i' }] };
  const made = await api.request('POST', '/api/v1/namespaces/default/pods', {
    body: { metadata: { name: 'other' }, spec },
  });
  assert.match(made.json.message, /spec.ephemeralContainers: Forbidden: cannot be set on create/);
});
