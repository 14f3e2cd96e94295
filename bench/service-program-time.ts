/** What the connect program takes, as the kernel counts it: the last of 10,000 services; and a connect to no service. */
import { enableStats, programStats } from '../src/kernel/bpf/stats.ts';
import { connectMicros, type Target } from './connects.ts';
import type { Benchmark, Contender } from './harness.ts';
import { createCleanup, openServices } from './services.ts';

const CONNECTS = 2000;

export async function benchmark(options: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const count = options.quick ? CONNECTS / 4 : CONNECTS;
  try {
    const { rig, service, direct } = await openServices(cleanup, 10_000);
    const stats = enableStats();
    cleanup.after(() => stats.close());
    const program = rig.programs.program('sock_connect4');
    const contender = (name: string, target: Target): Contender => ({
      name,
      measure: async () => {
        const before = programStats(program);
        await connectMicros(target, count);
        const after = programStats(program);
        return Number(after.runTimeNs - before.runTimeNs) / Number(after.runs - before.runs);
      },
    });
    return {
      name: 'service-program-time',
      unit: 'ns (mean of the connect program)',
      larger: false,
      ours: contender('the last of 10,000 services', service),
      peers: [
        contender('a pod, by no service', { ...direct, ...(service.enter ? { enter: service.enter } : {}) }),
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
