/** Services by the eBPF socket programs, for benchmarks: N of them with three endpoints each, the last one real. */
import { moveToCgroup } from '../src/kernel/cgroup.ts';
import { frontendKey, type Change, type ServiceFrontend } from '../src/datapath/plan/tables.ts';
import { createRig, frontend, type Rig } from '../src/datapath/ebpf/services/testing/rig.ts';
import { createSink, type Sink, type Target } from './connects.ts';

export interface Cleanup {
  after(fn: () => void | Promise<void>): void;
}

/** Undone in the order of registration, as tests do. */
export function createCleanup(): Cleanup & { run(): Promise<void> } {
  const steps: (() => void | Promise<void>)[] = [];
  return {
    after: (fn) => void steps.push(fn),
    async run() {
      for (const step of steps.splice(0)) await step();
    },
  };
}

export const PORTS = [7000, 7001, 7002] as const;

export const serviceAddress = (i: number): string => `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;

/** Of service `i`; of the last of `count` the ports of a pod that listens. */
export const endpointsOf = (i: number, count: number, pod: string): { address: string; port: number }[] =>
  i === count - 1
    ? PORTS.map((port) => ({ address: pod, port }))
    : [1, 2, 3].map((k) => ({
        address: `10.${200 + (i >> 14)}.${(i >> 6) & 255}.${((i & 63) << 2) | k}`,
        port: 80,
      }));

export const servicesOf = (count: number, pod: string): ServiceFrontend[] =>
  Array.from({ length: count }, (_, i) => frontend(serviceAddress(i), endpointsOf(i, count, pod)));

export const asChanges = (services: readonly ServiceFrontend[]): Change[] =>
  services.map((value): Change => ({ table: 'services', key: frontendKey(value), value }));

export interface ServiceBench {
  readonly rig: Rig;
  readonly sinks: readonly Sink[];
  /** By the last service. */
  readonly service: Target;
  /** Straight to the pod, from a socket that no program serves. */
  readonly direct: Target;
}

export async function openServices(t: Cleanup, count: number): Promise<ServiceBench> {
  const rig = createRig(t, { pods: 2 });
  const [client, server] = rig.pods;
  if (!client || !server) throw new Error('the rig has no pods');
  const sinks: Sink[] = [];
  for (const port of PORTS) sinks.push(await createSink(server.ns, port));
  t.after(() => {
    for (const sink of sinks) sink.close();
  });
  const [pod] = server.addresses;
  rig.apply(...asChanges(servicesOf(count, pod)));
  return {
    rig,
    sinks,
    service: {
      ns: client.ns,
      host: serviceAddress(count - 1),
      port: 80,
      sinks,
      enter: () => moveToCgroup(rig.cgroup, process.pid),
    },
    direct: {
      ns: client.ns,
      host: pod,
      port: PORTS[0],
      sinks,
      enter: () => moveToCgroup(rig.homeCgroup, process.pid),
    },
  };
}
