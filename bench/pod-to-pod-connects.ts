/** Connections opened and closed between two pods of a node. */
import type { Benchmark } from './harness.ts';
import { comparePods } from './pods.ts';

export const benchmark = ({ quick }: { quick: boolean }): Promise<Benchmark> => {
  const count = quick ? 1000 : 3000;
  return comparePods({
    name: 'pod-to-pod-connects',
    unit: 'connections/s',
    measure: (connection) => count / connection.connects(count),
  });
};
