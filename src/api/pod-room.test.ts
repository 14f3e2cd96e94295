import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podTakes } from './pod-room.ts';
import { podRequests } from './pod-requests.ts';
import { RUNTIME_ANNOTATION } from './runtime.ts';
import type { Pod } from './types.ts';

const pod = (runtime?: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', ...(runtime && { annotations: { [RUNTIME_ANNOTATION]: runtime } }) },
  spec: {
    containers: [
      {
        name: 'c',
        image: 'i',
        resources: { requests: { cpu: '64', memory: '1Ti', 'example.com/gpu': '8' } },
      },
    ],
  },
});
const nodes = [{ name: 'a' }, { name: 'b', resources: { cpu: '8' } }];

test('a stand-in takes nothing of the machine, and of what its node was given what it requests', () => {
  const takes = podTakes({ standIn: true, nodes });
  assert.deepEqual(takes(pod(), 'a'), new Map());
  assert.deepEqual(takes(pod(), 'b'), new Map([['cpu', 64_000]]));
  assert.deepEqual(takes(pod(), 'not known'), new Map());
  assert.deepEqual(
    takes(pod('process'), 'a'),
    podRequests(pod()),
    'a pod that runs programs in such a cluster',
  );
  const given = podTakes({ standIn: true, nodes, nodeResources: { memory: '1Gi' } });
  assert.deepEqual(given(pod(), 'a'), new Map([['memory', 2 ** 40]]));
  assert.deepEqual([...given(pod(), 'b').keys()], ['cpu', 'memory']);
});

test('programs take what they request, and what nothing runs takes nothing', () => {
  const takes = podTakes({ standIn: false, runtime: 'oci', nodes });
  assert.deepEqual(takes(pod(), 'a'), podRequests(pod()));
  assert.deepEqual(takes(pod('stand-in'), 'a'), new Map());
  assert.deepEqual(takes(pod('unheard of'), 'a'), new Map());
  assert.deepEqual(podTakes({ standIn: false, nodes })(pod(), 'a'), new Map());
});
