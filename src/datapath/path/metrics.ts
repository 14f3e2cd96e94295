/** What is known of paths to other nodes, as metrics. */
import type { Metrics } from '../../lib/metrics.ts';
import type { PathWatch } from './watch.ts';

const STATES = ['proved', 'unreachable', 'lossy', 'black-hole'] as const;

export function exposePaths(metrics: Metrics, { reports }: Pick<PathWatch, 'reports'>): void {
  metrics.sampled(
    'gauge',
    'heddle_paths',
    'Paths to other nodes, by family and what was found of them.',
    () => {
      const all = reports();
      return ([4, 6] as const).flatMap((family) =>
        STATES.map((state) => ({
          labels: { family: `IPv${family}`, state },
          value: all.filter((each) => each.family === family && each.verdict.state === state).length,
        })),
      );
    },
  );
}
