/** Pods that fill what all pods of the node share: named in metrics, in the log, and by `heddle datapath status`. */
import type { Backend, PodUse } from '../../datapath/backend.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Metrics } from '../../lib/metrics.ts';

export interface PodUseDeps {
  readonly backend: Pick<Backend, 'podUse'>;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PodUseWatch {
  /** Pods that are over their share now: it grew since the last look. */
  over(): readonly PodUse[];
  /** Looks once. */
  look(): void;
  /** Looks again and again until it is stopped. */
  run(stop: AbortSignal): Promise<void>;
}

const PERIOD_MS = 10_000;

export function createPodUseWatch({ backend, metrics, clock, log }: PodUseDeps): PodUseWatch {
  let before = new Map<string, number>();
  let over: readonly PodUse[] = [];
  expose(metrics, () => read());

  function read(): readonly PodUse[] {
    try {
      return backend.podUse?.() ?? [];
    } catch (error) {
      // Between two backends there is a moment in which nobody can be asked.
      log.debug('what pods take of the data path is not known', { error: errorText(error) });
      return [];
    }
  }

  function look(): void {
    const all = read();
    const now = all.filter((use) => excess(use) > (before.get(use.pod) ?? 0));
    const known = new Set(over.map(({ pod }) => pod));
    for (const use of now)
      if (!known.has(use.pod))
        log.warn('a pod wants more connections than its share: it pushes out its own, others go on', {
          ...use,
        });
    const still = new Set(now.map(({ pod }) => pod));
    for (const pod of known) if (!still.has(pod)) log.info('a pod is within its share again', { pod });
    before = new Map(all.map((use) => [use.pod, excess(use)]));
    over = now;
  }

  return {
    over: () => over,
    look,
    async run(stop) {
      while (!stop.aborted) {
        look();
        await clock.sleep(PERIOD_MS, stop).catch(() => {});
      }
    },
  };
}

const excess = ({ crowded, gaveWay, refused }: PodUse): number => crowded + gaveWay + refused;

function expose(metrics: Metrics, read: () => readonly PodUse[]): void {
  const one = (type: 'counter' | 'gauge', name: string, words: string, pick: (use: PodUse) => number) =>
    metrics.sampled(type, name, words, () =>
      read().map((use) => {
        const [namespace = '', pod = ''] = use.pod.split('/');
        return { labels: { namespace, pod }, value: pick(use) };
      }),
    );
  one(
    'gauge',
    'heddle_datapath_pod_share',
    'Part of its share of connections that a pod has, of pods that were beyond it.',
    ({ share }) => share,
  );
  one(
    'counter',
    'heddle_datapath_pod_crowded_total',
    'Connections begun by a pod beyond its share.',
    ({ crowded }) => crowded,
  );
  one(
    'counter',
    'heddle_datapath_pod_gave_way_total',
    'Translated connections of a pod that made room for newer ones of its own.',
    ({ gaveWay }) => gaveWay,
  );
  one(
    'counter',
    'heddle_datapath_pod_refused_total',
    'Connections that a pod was not let begin.',
    ({ refused }) => refused,
  );
}
