/** An agent with 10,000 services × 3 endpoints: from its start to the kernel holding all. */
import { openAgent } from './agent.ts';
import type { Benchmark, Contender } from './harness.ts';
import { createCleanup } from './services.ts';

const SERVICES = 10_000;

export async function benchmark({ quick }: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const services = quick ? SERVICES / 10 : SERVICES;
  try {
    const bench = await openAgent(cleanup, services);
    let cpuMs = Number.NaN;
    const contender = (name: string, isCold: boolean): Contender => ({
      name,
      async measure() {
        const agent = await bench.start(isCold);
        await agent.stop();
        if (isCold) ({ cpuMs } = agent);
        return agent.ms;
      },
    });
    return {
      name: 'agent-start',
      unit: 'ms',
      larger: false,
      ours: contender(`${services} services, nothing of an earlier run in the kernel`, true),
      peers: [
        contender('programs and maps as an earlier run left them', false),
        // What else runs on the machine does not count here.
        { name: 'processor time of the first', measure: () => Promise.resolve(cpuMs) },
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
