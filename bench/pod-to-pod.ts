/** Request and response of one byte between two pods of a node. */
import type { Benchmark } from './harness.ts';
import { comparePods } from './pods.ts';

export const benchmark = ({ quick }: { quick: boolean }): Promise<Benchmark> => {
  const count = quick ? 5000 : 20_000;
  return comparePods({
    name: 'pod-to-pod',
    unit: 'round trips/s',
    measure: (connection) => count / connection.roundTrips(count),
  });
};
