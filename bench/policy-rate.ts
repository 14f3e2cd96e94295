/** Request and response of one byte between two pods, with 10,000 policies over 1,000 identities on, and with one. */
import type { Benchmark, Contender } from './harness.ts';
import { connect } from './ping-pong.ts';
import { openPolicies, POLICIES } from './policies.ts';
import { createCleanup } from './services.ts';

export async function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const count = quick ? 5000 : 20_000;
  try {
    const contender = async (name: string, policies: number): Promise<Contender> => {
      const { pods } = await openPolicies(cleanup, policies);
      const [a, b] = pods;
      if (!a || !b) throw new Error('two pods were made');
      const connection = await connect(a.ns, b.ns, b.addresses[0]);
      cleanup.after(() => connection.close());
      return { name, measure: () => Promise.resolve(count / connection.roundTrips(count)) };
    };
    return {
      name: 'policy-rate',
      unit: 'round trips/s',
      larger: true,
      ours: await contender(`${POLICIES} policies`, POLICIES),
      peers: [await contender('one policy', 1)],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
