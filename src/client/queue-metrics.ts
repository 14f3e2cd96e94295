/** A queue's counters, under the names that Kubernetes' own controllers use. */
import { type Metrics, createMetrics } from '../lib/metrics.ts';

export interface QueueMetrics {
  depth(now: number): void;
  added(): void;
  retried(): void;
  /** Seconds. */
  waited(seconds: number): void;
  worked(seconds: number): void;
}

export function queueMetrics(metrics: Metrics = createMetrics(), name: string): QueueMetrics {
  const labels = { name };
  const depth = metrics.gauge('workqueue_depth', 'Keys that wait to be worked on.');
  const adds = metrics.counter('workqueue_adds_total', 'Keys added.');
  const retries = metrics.counter(
    'workqueue_retries_total',
    'Keys that came back because their work failed.',
  );
  const queued = metrics.histogram('workqueue_queue_duration_seconds', 'How long a key waits.');
  const worked = metrics.histogram('workqueue_work_duration_seconds', 'How long the work for a key takes.');
  return {
    depth: (now) => depth.set(now, labels),
    added: () => adds.inc(labels),
    retried: () => retries.inc(labels),
    waited: (seconds) => queued.observe(seconds, labels),
    worked: (seconds) => worked.observe(seconds, labels),
  };
}
