/** How two clusters of 1,000 workloads and 1,000 policies differ that a tenth of the policies tells apart. */
import { diff } from '../src/policy/analyse/diff.ts';
import type { Benchmark } from './harness.ts';
import { makeEstate, WORKLOADS } from './policy-estates.ts';

export function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const count = quick ? WORKLOADS / 10 : WORKLOADS;
  const contender = (workloads: number) => {
    const [before, after] = [makeEstate(workloads), makeEstate(workloads, workloads / 10)];
    return {
      name: `${workloads} workloads`,
      measure() {
        const began = performance.now();
        let changes = 0;
        for (const _ of diff(before, after)) changes++;
        if (changes === 0) throw new Error('nothing differs');
        return Promise.resolve(performance.now() - began);
      },
    };
  };
  return Promise.resolve({
    name: 'policy-diff',
    unit: 'ms',
    larger: false,
    ours: contender(count),
    peers: [contender(count / 10)],
    close: () => Promise.resolve(),
  });
}
