/**
 * Programming 10,000 services with three endpoints each into an empty kernel: what the backend does with the plan's
 * changes, and iptables-restore with kube-proxy's chains.
 */
import { createLab, type LabNode } from '../src/datapath/testing/lab.ts';
import { run } from '../src/kernel/spawn.ts';
import type { Benchmark } from './harness.ts';
import { iptablesRules } from './kube-proxy.ts';
import {
  asChanges,
  createCleanup,
  endpointsOf,
  openServices,
  serviceAddress,
  servicesOf,
} from './services.ts';

const SERVICES = 10_000;
const POD = '10.244.1.3';
const MINUTE = 60_000;

const rules = (): string =>
  iptablesRules(
    Array.from({ length: SERVICES }, (_, i) => ({
      name: `bench/service-${i}:http`,
      address: serviceAddress(i),
      port: 80,
      endpoints: endpointsOf(i, SERVICES, POD),
    })),
  );

export async function benchmark(): Promise<Benchmark> {
  const cleanup = createCleanup();
  try {
    const { rig } = await openServices(cleanup, 1);
    const [node] = createLab(cleanup, 1).nodes as [LabNode];
    const changes = asChanges(servicesOf(SERVICES, POD));
    const gone = changes.map((change) => ({ ...change, value: undefined }));
    const input = rules();
    return {
      name: 'service-program',
      unit: 'ms',
      larger: false,
      ours: {
        name: '10,000 services, eBPF',
        measure() {
          const start = performance.now();
          rig.part.apply(changes);
          const took = performance.now() - start;
          rig.part.apply(gone);
          return Promise.resolve(took);
        },
      },
      peers: [
        {
          name: 'iptables-restore (legacy)',
          async measure() {
            const start = performance.now();
            const restore = ['iptables-legacy-restore'];
            const { code, stderr } = await run(restore, { netns: node.ns, input, timeoutMs: MINUTE });
            if (code !== 0) throw new Error(stderr);
            return performance.now() - start;
          },
        },
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
