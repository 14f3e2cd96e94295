/**
 * Decisions a second: distinct random flows in a world of 1,000 policies of all languages and over 500 roles, on one
 * core. The peer reads the same world without an index.
 */
import { createDecider } from '../src/policy/decide.ts';
import { createIndexedDecider, type Decider } from '../src/policy/indexed/decider.ts';
import type { Flow } from '../src/policy/world.ts';
import type { Benchmark } from './harness.ts';
import { createFlows, makeMixedWorld } from './policy-worlds.ts';

/** Flows are made in batches, before the clock runs; the peer, which is slow, decides one small batch. */
const BATCH = 20_000;
const BATCHES = 15;
const PEER_FLOWS = 1000;

export function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const world = makeMixedWorld();
  const nextFlow = createFlows(world);
  const contender = (name: string, decide: Decider, batches: number, size: number) => ({
    name,
    measure() {
      let ms = 0;
      let denied = 0;
      for (let i = 0; i < batches; i++) {
        const flows = Array.from({ length: size }, nextFlow);
        const began = performance.now();
        denied += countDenied(decide, flows);
        ms += performance.now() - began;
      }
      if (denied === 0 || denied === batches * size) throw new Error('all flows are decided alike');
      return Promise.resolve((1000 * batches * size) / ms);
    },
  });
  return Promise.resolve({
    name: 'policy-decide',
    unit: 'decisions/s',
    larger: true,
    ours: contender('by index', createIndexedDecider()(world), quick ? BATCHES / 3 : BATCHES, BATCH),
    peers: [contender('straight from the policies', createDecider(world), 1, PEER_FLOWS)],
    close: () => Promise.resolve(),
  });
}

function countDenied(decide: Decider, flows: readonly Flow[]): number {
  let denied = 0;
  for (const flow of flows) if (decide(flow).verdict === 'deny') denied++;
  return denied;
}
