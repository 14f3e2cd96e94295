/** Memory of an agent with 10,000 services × 3 endpoints, and of one with none. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openAgent } from './agent.ts';
import type { Benchmark, Contender } from './harness.ts';
import { createCleanup } from './services.ts';

const SERVICES = 10_000;
/** Until what the start left is collected. */
const SETTLED_MS = 5000;

export async function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const services = quick ? SERVICES / 10 : SERVICES;
  try {
    const contender = async (name: string, count: number): Promise<Contender> => {
      const bench = await openAgent(cleanup, count);
      return {
        name,
        async measure() {
          const agent = await bench.start(false);
          await sleep(SETTLED_MS);
          const size = agent.pss();
          await agent.stop();
          return size;
        },
      };
    };
    return {
      name: 'agent-memory',
      unit: 'MB (PSS)',
      larger: false,
      ours: await contender(`${services} services`, services),
      peers: [await contender('one service', 1)],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
