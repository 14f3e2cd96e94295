/** One of 10,000 policies over 1,000 identities changes: from hearing of the object to the kernel. */
import type { Benchmark } from './harness.ts';
import { openPolicies, POLICIES } from './policies.ts';
import { createCleanup } from './services.ts';

const CHANGES = 50;

export async function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const count = quick ? POLICIES / 10 : POLICIES;
  try {
    const contender = async (name: string, policies: number) => {
      const bench = await openPolicies(cleanup, policies);
      return {
        name,
        async measure() {
          const times: number[] = [];
          for (let i = 0; i < CHANGES; i++) times.push(await bench.change());
          return times.toSorted((a, b) => a - b)[CHANGES >> 1] ?? Number.NaN;
        },
      };
    };
    return {
      name: 'policy-change',
      unit: 'ms (median)',
      larger: false,
      ours: await contender(`one of ${count} policies`, count),
      peers: [await contender('one of two policies', 2)],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
