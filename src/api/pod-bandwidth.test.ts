import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podBandwidth, validateBandwidth } from './pod-bandwidth.ts';

const INGRESS = 'kubernetes.io/ingress-bandwidth';
const EGRESS = 'kubernetes.io/egress-bandwidth';

const pod = (annotations: Readonly<Record<string, string>>) => ({
  apiVersion: 'v1' as const,
  kind: 'Pod' as const,
  metadata: { name: 'p', annotations },
});

test('bandwidth is bits per second, each direction by itself', () => {
  assert.deepEqual(podBandwidth(pod({ [INGRESS]: '10M', [EGRESS]: '1Gi' })), {
    ingress: 10_000_000,
    egress: 2 ** 30,
  });
  assert.deepEqual(podBandwidth(pod({ [EGRESS]: '1k' })), { egress: 1000 });
  assert.equal(podBandwidth(pod({})), undefined);
  assert.equal(podBandwidth(pod({ [EGRESS]: 'much' })), undefined);
});

for (const [text, words] of [
  [
    'much',
    /metadata\.annotations\[kubernetes\.io\/egress-bandwidth\]: Invalid value: "much": quantities must/,
  ],
  ['-1M', /between 1k and 1P bits per second/],
  ['0', /between 1k and 1P bits per second/],
  ['999', /between 1k and 1P bits per second/],
  ['2P', /between 1k and 1P bits per second/],
] as const)
  test(`a bandwidth of ${text} is refused`, () => {
    const problems = [...validateBandwidth({ [EGRESS]: text }, 'metadata.annotations')];
    assert.match(problems.map(({ field, message }) => `${field}: ${message}`).join(), words);
  });

test('a bandwidth that can be kept is not refused', () => {
  assert.deepEqual([...validateBandwidth({ [EGRESS]: '1P', [INGRESS]: '1.5M' }, 'x')], []);
  assert.deepEqual([...validateBandwidth(undefined, 'x')], []);
});
