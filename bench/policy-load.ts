/** 10,000 policies over 1,000 identities, all of one node: from the objects to the kernel, from nothing. */
import type { Benchmark } from './harness.ts';
import { openPolicies, POLICIES } from './policies.ts';
import { createCleanup } from './services.ts';

export function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const load = (name: string, count: number) => ({
    name,
    async measure() {
      const cleanup = createCleanup();
      try {
        return (await openPolicies(cleanup, count)).loadMs;
      } finally {
        await cleanup.run();
      }
    },
  });
  const count = quick ? POLICIES / 10 : POLICIES;
  return Promise.resolve({
    name: 'policy-load',
    unit: 'ms',
    larger: false,
    ours: load(`${count} policies`, count),
    peers: [load('one policy', 1)],
    close: () => Promise.resolve(),
  });
}
