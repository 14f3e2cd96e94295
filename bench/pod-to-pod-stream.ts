/** Bytes one way over one connection between two pods of a node. */
import type { Benchmark } from './harness.ts';
import { comparePods } from './pods.ts';

export const benchmark = ({ quick }: { quick: boolean }): Promise<Benchmark> => {
  const megabytes = quick ? 512 : 2048;
  return comparePods({
    name: 'pod-to-pod-stream',
    unit: 'Gb/s',
    measure: (connection) => (megabytes * 8.388608) / 1000 / connection.stream(megabytes),
  });
};
