import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node, Pod } from '../api/types.ts';
import { worldNode, worldPod } from './from-objects.ts';

const pod = (spec: unknown, status: unknown = {}): Pod =>
  ({ metadata: { namespace: 'a', name: 'p' }, spec, status }) as Pod;

test('a pod that has ended is not in the world', () => {
  assert.equal(worldPod(pod({}, { phase: 'Succeeded' })), undefined);
  assert.equal(worldPod(pod({}, { phase: 'Failed' })), undefined);
  assert.equal(worldPod(pod({}, { phase: 'Running' }))?.name, 'p');
});

test('ports are those of containers and sidecars, not of init containers that have gone', () => {
  const found = worldPod(
    pod({
      containers: [
        { ports: [{ name: 'http', containerPort: 80 }] },
        { ports: [{ containerPort: 53, protocol: 'UDP' }] },
      ],
      initContainers: [
        { ports: [{ name: 'setup', containerPort: 1 }] },
        { restartPolicy: 'Always', ports: [{ name: 'proxy', containerPort: 2 }] },
      ],
    }),
  );
  assert.deepEqual(
    found?.ports.map(({ name, port, protocol }) => `${name} ${port} ${protocol}`),
    ['http 80 TCP', 'undefined 53 UDP', 'proxy 2 TCP'],
  );
});

test('a node is its addresses, not its host name', () => {
  const node = worldNode({
    metadata: { name: 'n1' },
    status: {
      addresses: [
        { type: 'Hostname', address: 'n1' },
        { type: 'InternalIP', address: '10.0.0.1' },
      ],
    },
  } as Node);
  assert.deepEqual(node.addresses, ['10.0.0.1']);
});

test('rules for nodes know a node by its labels and all of its addresses', () => {
  const { labels, externalAddresses } = worldNode({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1', labels: { zone: 'east' } },
    status: {
      addresses: [
        { type: 'Hostname', address: 'n1' },
        { type: 'ExternalIP', address: '203.0.113.1' },
        { type: 'InternalIP', address: '10.0.0.1' },
        { type: 'ExternalIP', address: '2001:db8::1' },
      ],
    },
  });
  assert.deepEqual([labels, externalAddresses], [{ zone: 'east' }, ['203.0.113.1', '2001:db8::1']]);
});
