/**
 * One endpoint of one of 10,000 services changes through the API: from the request to the kernel of the last of 10
 * nodes. The peer is a bare watch of the same API server, which does nothing with what it hears.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ENDPOINT_SLICE } from '../src/api/kinds.ts';
import type { EndpointSlice } from '../src/api/types.ts';
import {
  type BenchCluster,
  createAgentMeans,
  createServices,
  endpointsOf,
  type NodeMaps,
  openCluster,
  openNodeMaps,
  sliceOf,
} from './cluster.ts';
import { type Benchmark, type Contender } from './harness.ts';
import { createCleanup } from './services.ts';

const SERVICES = 10_000;
const NODES = 10;
const QUICK = { services: 1000, nodes: 3 } as const;
const CHANGES = 100;
/** Milliseconds between looks at the maps: this process shares the processors with what it measures. */
const LOOK_MS = 1;
const LOST_MS = 30_000;

/** Milliseconds since the request was sent. */
export interface Times {
  readonly first: number;
  readonly last: number;
  /** Until the bare watch had it. */
  readonly heard: number;
  readonly answered: number;
}

export interface Changer {
  change(): Promise<Times>;
}

/** @param addresses cluster addresses of the services */
export function createChanger(
  { client }: Pick<BenchCluster, 'client'>,
  maps: readonly NodeMaps[],
  addresses: readonly string[],
  signal: AbortSignal,
): Changer {
  const heard = new Map<string, (at: number) => void>();
  let round = 0;
  void (async () => {
    for await (const { object } of client.watch<EndpointSlice>(ENDPOINT_SLICE, {}, signal)) {
      const added = object.endpoints?.[0]?.addresses[0] ?? '';
      heard.get(added)?.(performance.now());
    }
  })();

  /** Resolves with when each node had it. */
  async function reached(service: string, endpoint: string, since: number): Promise<number[]> {
    const times: number[] = [];
    let waiting = maps;
    while (waiting.length > 0) {
      waiting = waiting.filter((node) => {
        if (!node.endpointsOf(service).includes(endpoint)) return true;
        times.push(performance.now() - since);
        return false;
      });
      if (performance.now() - since > LOST_MS)
        throw new Error(`${waiting.map(({ node }) => node).join(', ')} did not get ${endpoint}`);
      if (waiting.length > 0) await sleep(LOOK_MS);
    }
    return times;
  }

  return {
    async change() {
      const i = (++round * 7919) % addresses.length;
      const fresh = `10.${210 + (round >> 16)}.${(round >> 8) & 255}.${round & 255}`;
      const word = Promise.withResolvers<number>();
      heard.set(fresh, word.resolve);
      const start = performance.now();
      const answer = client
        .update(ENDPOINT_SLICE, sliceOf(i, [fresh, ...endpointsOf(i).slice(1)]))
        .then(() => performance.now() - start);
      const times = await reached(addresses[i] ?? '', fresh, start);
      const answered = await answer;
      const at = await word.promise;
      heard.delete(fresh);
      // Not in step with anything: an event that follows another one waits for it.
      await sleep(10 + Math.random() * 40);
      return { first: Math.min(...times), last: Math.max(...times), heard: at - start, answered };
    },
  };
}

export async function benchmark(options: { quick: boolean }): Promise<Benchmark> {
  const cleanup = createCleanup();
  const { services, nodes } = options.quick ? QUICK : { services: SERVICES, nodes: NODES };
  const stop = new AbortController();
  try {
    cleanup.after(() => stop.abort());
    const cluster = await openCluster(cleanup, nodes);
    const addresses = await createServices(cluster, services);
    const maps = cluster.nodes.map((node) => openNodeMaps(cluster, node));
    cleanup.after(() => {
      for (const each of maps) each.close();
    });
    for (const each of maps) while (each.frontends() < services) await sleep(200);
    const changer = createChanger(cluster, maps, addresses, stop.signal);
    let measured: Times[] = [];
    let heardToKernel = Number.NaN;
    const agents = createAgentMeans(cluster, 'heddle_datapath_change_delay_seconds');
    const of = (name: string, figure: (times: readonly Times[]) => number): Contender => ({
      name: `${name}, ${services} services, ${nodes} nodes`,
      measure: async () => figure(measured),
    });
    return {
      name: 'propagation',
      unit: 'ms',
      larger: false,
      ours: {
        ...of('in the kernel of the last node, 99th percentile', () => 0),
        async measure() {
          measured = [];
          await agents();
          for (let i = 0; i < CHANGES; i++) measured.push(await changer.change());
          heardToKernel = await agents();
          return percentile(measured, 0.99, ({ last }) => last);
        },
      },
      peers: [
        of('in an agent, from hearing of it to the kernel, mean', () => heardToKernel),
        of('the same, median', (times) => percentile(times, 0.5, ({ last }) => last)),
        of('in the kernel of the first node, median', (times) =>
          percentile(times, 0.5, ({ first }) => first),
        ),
        of('a bare watch, 99th percentile', (times) => percentile(times, 0.99, ({ heard }) => heard)),
        of('a bare watch, median', (times) => percentile(times, 0.5, ({ heard }) => heard)),
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}

function percentile(times: readonly Times[], q: number, figure: (times: Times) => number): number {
  const sorted = times.map(figure).toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * q) - 1] ?? Number.NaN;
}
