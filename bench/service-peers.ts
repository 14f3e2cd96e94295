/**
 * connect() from a pod to the last of 10,000 services with three endpoints each: our socket programs, against the
 * chains that kube-proxy writes for iptables (both kinds) and its maps for nftables.
 */
import { createLab, type LabNode } from '../src/datapath/testing/lab.ts';
import { run } from '../src/kernel/spawn.ts';
import { connectMicros, createSink, type Sink, type Target } from './connects.ts';
import type { Benchmark, Contender } from './harness.ts';
import { iptablesRules, nftablesRules, type ProxiedService } from './kube-proxy.ts';
import { type Cleanup, createCleanup, endpointsOf, openServices, PORTS, serviceAddress } from './services.ts';

const SERVICES = 10_000;
const CONNECTS = 2000;
const MINUTES = 60_000;

const proxied = (pod: string): ProxiedService[] =>
  Array.from({ length: SERVICES }, (_, i) => ({
    name: `bench/service-${i}:http`,
    address: serviceAddress(i),
    port: 80,
    endpoints: endpointsOf(i, SERVICES, pod),
  }));

/** A node of its own, whose rules `program` reads from its input. */
async function peer(
  t: Cleanup,
  program: readonly string[],
  rules: (services: readonly ProxiedService[]) => string,
): Promise<Target> {
  const [node] = createLab(t, 1).nodes as [LabNode];
  const [client, server] = [node.addPod('client'), node.addPod('server')];
  const sinks: Sink[] = [];
  for (const port of PORTS) sinks.push(await createSink(server.ns, port));
  t.after(() => {
    for (const sink of sinks) sink.close();
  });
  const input = rules(proxied(server.addresses[0]));
  const result = await run(program, { netns: node.ns, input, timeoutMs: 10 * MINUTES });
  if (result.code !== 0) throw new Error(`${program.join(' ')}: ${result.stderr.slice(0, 500)}`);
  return { ns: client.ns, host: serviceAddress(SERVICES - 1), port: 80, sinks };
}

export async function benchmark(options: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const count = options.quick ? CONNECTS / 4 : CONNECTS;
  const contender = (name: string, target: Target): Contender => ({
    name,
    measure: () => connectMicros(target, count),
  });
  try {
    const { service, direct } = await openServices(cleanup, SERVICES);
    const home = direct.enter;
    const peers = [
      ['kube-proxy, nftables', await peer(cleanup, ['nft', '-f', '-'], nftablesRules)],
      ['kube-proxy, iptables (legacy)', await peer(cleanup, ['iptables-legacy-restore'], iptablesRules)],
      ['kube-proxy, iptables (nft)', await peer(cleanup, ['iptables-nft-restore'], iptablesRules)],
    ] as const;
    return {
      name: 'service-peers',
      unit: 'µs (median connect)',
      larger: false,
      ours: contender('the last of 10,000 services, eBPF', service),
      peers: peers.map(([name, target]) => contender(name, { ...target, ...(home ? { enter: home } : {}) })),
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
