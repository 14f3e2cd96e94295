import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, upCluster } from './local-cluster.ts';

interface PodList {
  items: {
    metadata: { name: string; labels: { app: string } };
    status: {
      phase: string;
      conditions: { type: string; status: string }[];
      initContainerStatuses?: { state: { terminated?: { reason: string } } }[];
    };
  }[];
}

test('a published shop runs from its own manifests without its images', { timeout: 300_000 }, async (t) => {
  const { heddle, must } = await upCluster(t, join(root, 'test/manifests/eleven'));
  const pods = (JSON.parse(await must('get', 'pods', '-o', 'json')) as PodList).items;
  assert.equal(pods.length, 11 + 1, 'eleven services and a load generator');
  for (const pod of pods) {
    assert.equal(pod.status.phase, 'Running', pod.metadata.name);
    assert.ok(
      pod.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
      pod.metadata.name,
    );
  }
  const generator = pods.find(({ metadata }) => metadata.labels.app === 'load-generator');
  assert.equal(generator?.status.initContainerStatuses?.[0]?.state.terminated?.reason, 'Completed');

  const name = generator?.metadata.name ?? '';
  const external = await must(
    'exec',
    name,
    '--',
    'curl',
    '-sS',
    '--max-time',
    '5',
    'http://frontend-external/',
  );
  assert.match(external, /frontend/);

  const again = await heddle('apply', '-f', join(root, 'test/manifests/eleven'));
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /deployment\.apps\/frontend unchanged/);
  assert.match(again.stderr, /shop\.yaml:\d+.*HorizontalPodAutoscaler/);

  const outside = JSON.parse(await must('get', 'service', 'frontend-external', '-o', 'json')) as {
    status: { loadBalancer: { ingress: { ip: string }[] } };
  };
  assert.match(outside.status.loadBalancer.ingress[0]?.ip ?? '', /^10\.240\.1\./);
});
