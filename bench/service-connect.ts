/** connect() from a pod to the last of 10,000 services with three endpoints each, against straight to the pod. */
import { connectMicros, type Target } from './connects.ts';
import type { Benchmark, Contender } from './harness.ts';
import { createCleanup, openServices } from './services.ts';

const CONNECTS = 2000;

export async function benchmark(options: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const count = options.quick ? CONNECTS / 4 : CONNECTS;
  const contender = (name: string, target: Target): Contender => ({
    name,
    measure: () => connectMicros(target, count),
  });
  try {
    const { service, direct } = await openServices(cleanup, 10_000);
    return {
      name: 'service-connect',
      unit: 'µs (median connect)',
      larger: false,
      ours: contender('the last of 10,000 services', service),
      peers: [contender('straight to the pod', direct)],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
