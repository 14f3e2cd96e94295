import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podTemplateOf, runtimeOf } from './runtime.ts';

const pod = (runtime?: string): { metadata: { annotations: Record<string, string> } } => ({
  metadata: { annotations: runtime === undefined ? {} : { 'heddle.dev/runtime': runtime } },
});

for (const [asked, standIn, expected] of [
  [undefined, true, 'stand-in'],
  [undefined, false, undefined],
  ['stand-in', false, 'stand-in'],
  ['stand-in', true, 'stand-in'],
  ['process', true, 'process'],
  ['oci', true, 'oci'],
  ['cri', true, 'cri'],
  ['docker', true, undefined],
] as const)
  test(`a pod that asks for ${asked} on a cluster ${standIn ? 'with' : 'without'} --stand-in is run by ${expected}`, () =>
    assert.equal(runtimeOf(pod(asked), { standIn }), expected));

test('what the cluster was started with is for pods that ask for none', () => {
  const defaults = { standIn: true, runtime: 'oci' } as const;
  assert.deepEqual(
    [undefined, 'process', 'docker'].map((asked) => runtimeOf(pod(asked), defaults)),
    ['oci', 'process', undefined],
  );
});

test('templates are found in what makes pods', () => {
  const meta = { metadata: { name: 'x' } };
  assert.ok(podTemplateOf({ apiVersion: 'v1', kind: 'Pod', ...meta }));
  assert.ok(podTemplateOf({ apiVersion: 'apps/v1', kind: 'Deployment', ...meta, spec: { template: {} } }));
  assert.equal(podTemplateOf({ apiVersion: 'v1', kind: 'Service', ...meta }), undefined);
});
