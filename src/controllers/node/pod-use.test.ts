import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodUse } from '../../datapath/backend.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLog } from '../../lib/log.ts';
import { createMetrics } from '../../lib/metrics.ts';
import { createPodUseWatch } from './pod-use.ts';

const use = (crowded: number): PodUse => ({
  pod: 'shop/web',
  share: 1,
  begun: 100,
  crowded,
  gaveWay: 2,
  refused: 3,
});

function setUp() {
  const metrics = createMetrics();
  const lines: string[] = [];
  let uses: readonly PodUse[] = [];
  const watch = createPodUseWatch({
    backend: { podUse: () => uses },
    metrics,
    clock: systemClock,
    log: createLog({ write: (line) => void lines.push(line) }),
  });
  return { metrics, lines, watch, set: (next: readonly PodUse[]) => (uses = next) };
}

test('a pod beyond its share is told of once when it begins and once when it ends', () => {
  const { lines, watch, set } = setUp();
  watch.look();
  assert.deepEqual(lines, []);
  for (const crowded of [10, 20, 30]) {
    set([use(crowded)]);
    watch.look();
    assert.equal(watch.over()[0]?.pod, 'shop/web');
  }
  watch.look();
  assert.deepEqual(watch.over(), []);
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /shop\/web/);
  assert.match(lines[1] ?? '', /within its share again/);
});

test('metrics name the pod while the kernel knows it', () => {
  const { metrics, set } = setUp();
  set([use(10)]);
  assert.ok(metrics.text().includes('heddle_datapath_pod_crowded_total{namespace="shop",pod="web"} 10'));
  assert.ok(metrics.text().includes('heddle_datapath_pod_refused_total{namespace="shop",pod="web"} 3'));
  set([]);
  assert.ok(!metrics.text().includes('pod="web"'));
});
