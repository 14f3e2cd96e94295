/** connect() to the last of 100,000 services, against the only one of a node, and the last of 10,000. */
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
    const many = await openServices(cleanup, 100_000);
    const some = await openServices(cleanup, 10_000);
    const one = await openServices(cleanup, 1);
    return {
      name: 'service-scale',
      unit: 'µs (median connect)',
      larger: false,
      ours: contender('the last of 100,000 services', many.service),
      peers: [
        contender('the only service', one.service),
        contender('the last of 10,000 services', some.service),
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
