/**
 * One endpoint of one of 10,000 services changes: from the change of the plan to the kernel. The peer replaces one
 * service's draw in kube-proxy's nftables chains, by libnftables, as a long-lived process would.
 */
import { createLab, type LabNode } from '../src/datapath/testing/lab.ts';
import type { Change, ServiceFrontend } from '../src/datapath/plan/tables.ts';
import { openNft } from '../src/kernel/nft.ts';
import { inNetns } from '../src/kernel/netns.ts';
import type { Benchmark } from './harness.ts';
import { nftablesRules } from './kube-proxy.ts';
import { asChanges, createCleanup, openServices, serviceAddress, servicesOf } from './services.ts';

const SERVICES = 10_000;
const POD = '10.244.1.3';
const CHANGES = 100;
/** Each takes libnftables as long as hundreds of ours. */
const PEER_CHANGES = 3;

const median = (times: number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN;

export async function benchmark(): Promise<Benchmark> {
  const cleanup = createCleanup();
  try {
    const { rig } = await openServices(cleanup, SERVICES);
    const services = servicesOf(SERVICES, POD);
    const [node] = createLab(cleanup, 1).nodes as [LabNode];
    const nft = inNetns(node.ns, () => openNft());
    cleanup.after(() => nft.close());
    nft.run(
      nftablesRules(
        services.map(({ address, port, backends }, i) => ({
          name: `bench/service-${i}:http`,
          address,
          port,
          endpoints: backends,
        })),
      ),
    );
    let round = 0;
    return {
      name: 'service-change',
      unit: 'ms (median)',
      larger: false,
      ours: {
        name: 'one endpoint of 10,000 services, eBPF',
        measure() {
          const times = Array.from({ length: CHANGES }, () => {
            const changed = withAnother(services[(round * 37) % SERVICES], ++round);
            const start = performance.now();
            rig.apply(...changed);
            return performance.now() - start;
          });
          return Promise.resolve(median(times));
        },
      },
      peers: [
        {
          name: 'one endpoint of 10,000 services, nftables',
          measure() {
            const times = Array.from({ length: PEER_CHANGES }, () => {
              const i = ++round % SERVICES;
              const to = `10.201.${round & 255}.1:${1024 + (round >> 8)}`;
              const commands = `add chain ip kube-proxy endpoint-new-${round}
                add rule ip kube-proxy endpoint-new-${round} meta l4proto tcp dnat to ${to}
                delete element ip kube-proxy service-ips { ${serviceAddress(i)} . tcp . 80 }
                add element ip kube-proxy service-ips { ${serviceAddress(i)} . tcp . 80 : goto endpoint-new-${round} }`;
              const start = performance.now();
              nft.run(commands);
              return performance.now() - start;
            });
            return Promise.resolve(median(times));
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

function withAnother(service: ServiceFrontend | undefined, round: number): Change[] {
  if (!service) return [];
  const another = { address: `10.201.${round & 255}.${(round >> 8) & 255}`, port: 80 };
  return asChanges([{ ...service, backends: [...service.backends.slice(0, 2), another] }]);
}
