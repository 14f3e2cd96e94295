/** Who reaches whom in a cluster of 1,000 workloads, 1,000 roles and 1,000 policies, from the objects to JSON. */
import { connectionOutput, connectivity } from '../src/policy/analyse/connectivity.ts';
import type { Benchmark } from './harness.ts';
import { makeEstate, WORKLOADS } from './policy-estates.ts';

export function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const count = quick ? WORKLOADS / 10 : WORKLOADS;
  const contender = (workloads: number) => {
    const estate = makeEstate(workloads);
    return {
      name: `${workloads} workloads`,
      measure() {
        const began = performance.now();
        let size = 0;
        for (const connection of connectivity(estate))
          size += JSON.stringify(connectionOutput(connection)).length;
        if (size === 0) throw new Error('nobody reaches anybody');
        return Promise.resolve(performance.now() - began);
      },
    };
  };
  return Promise.resolve({
    name: 'policy-connectivity',
    unit: 'ms',
    larger: false,
    ours: contender(count),
    peers: [contender(count / 10)],
    close: () => Promise.resolve(),
  });
}
