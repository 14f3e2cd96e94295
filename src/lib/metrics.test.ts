import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from './metrics.ts';

test('a counter counts by label set, whatever the order of the labels', () => {
  const metrics = createMetrics();
  const counter = metrics.counter('x_total', 'Things.');
  counter.inc({ a: '1', b: '2' });
  counter.inc({ b: '2', a: '1' }, 2);
  counter.inc();
  assert.equal(
    metrics.text(),
    '# HELP x_total Things.\n# TYPE x_total counter\nx_total{a="1",b="2"} 3\nx_total 1\n',
  );
});

test('label values and help are escaped', () => {
  const metrics = createMetrics();
  metrics.gauge('g', 'two\nlines').set(1, { v: 'a"b\\c\nd' });
  assert.equal(metrics.text(), '# HELP g two\\nlines\n# TYPE g gauge\ng{v="a\\"b\\\\c\\nd"} 1\n');
});

test('a histogram is cumulative and ends with +Inf', () => {
  const metrics = createMetrics();
  const histogram = metrics.histogram('h', 'H.', [1, 2]);
  for (const value of [0.5, 1, 1.5, 9]) histogram.observe(value, { p: 'q' });
  assert.deepEqual(metrics.text().split('\n').slice(2, -1), [
    'h_bucket{p="q",le="1"} 2',
    'h_bucket{p="q",le="2"} 3',
    'h_bucket{p="q",le="+Inf"} 4',
    'h_sum{p="q"} 12',
    'h_count{p="q"} 4',
  ]);
});

test('the same name gives the same metric, another type of it an error', () => {
  const metrics = createMetrics();
  metrics.counter('c', 'C.').inc();
  metrics.counter('c', 'C.').inc();
  assert.match(metrics.text(), /^c 2$/m);
  assert.throws(() => metrics.gauge('c', 'C.'), /metric c is a counter already, not a gauge/);
});

test('collectors run at each reading', () => {
  const metrics = createMetrics();
  const gauge = metrics.gauge('n', 'N.');
  let n = 0;
  metrics.onCollect(() => gauge.set(++n));
  metrics.text();
  assert.match(metrics.text(), /^n 2$/m);
});

test('samples that somebody else keeps are read each time, and gone when he has no more of them', () => {
  const metrics = createMetrics();
  const kept = new Map([['a', 1]]);
  metrics.sampled('gauge', 's', 'S.', () => [...kept].map(([k, value]) => ({ labels: { k }, value })));
  assert.match(metrics.text(), /# TYPE s gauge\ns\{k="a"\} 1\n/);
  kept.delete('a');
  kept.set('b', 2);
  assert.equal(metrics.text(), '# HELP s S.\n# TYPE s gauge\ns{k="b"} 2\n');
});
