/**
 * Decisions a second: distinct random flows in a world of 1,000 policies of all languages and over 500 roles, on one
 * core. The peer reads the same world without an index.
 */
import { createDecider } from '../src/policy/decide.ts';
import { createIndexedDecider, type Decider } from '../src/policy/indexed/decider.ts';
import type { Flow } from '../src/policy/world.ts';
import type { Benchmark } from './harness.ts';
import { createFlows, makeMixedWorld } from './policy-worlds.ts';

/** Flows of one measurement; the peer, which is slow, decides some of them. */
const FLOWS = 300_000;
const PEER_FLOWS = 100;

export function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const world = makeMixedWorld();
  const nextFlow = createFlows(world);
  const contender = (name: string, decide: Decider, count: number) => ({
    name,
    measure() {
      const flows = Array.from({ length: count }, nextFlow);
      const began = performance.now();
      const denied = countDenied(decide, flows);
      const seconds = (performance.now() - began) / 1000;
      if (denied === 0 || denied === count) throw new Error('all flows are decided alike');
      return Promise.resolve(count / seconds);
    },
  });
  return Promise.resolve({
    name: 'policy-decide',
    unit: 'decisions/s',
    larger: true,
    ours: contender('by index', createIndexedDecider()(world), quick ? FLOWS / 3 : FLOWS),
    peers: [contender('straight from the policies', createDecider(world), PEER_FLOWS)],
    close: () => Promise.resolve(),
  });
}

function countDenied(decide: Decider, flows: readonly Flow[]): number {
  let denied = 0;
  for (const flow of flows) if (decide(flow).verdict === 'deny') denied++;
  return denied;
}
