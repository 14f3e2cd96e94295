/** A local cluster for benchmarks: its own data directory, gone at the end; and a look into its nodes' kernel maps. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ENDPOINT_SLICE, NAMESPACE, SERVICE } from '../src/api/kinds.ts';
import type { EndpointSlice, Service } from '../src/api/types.ts';
import { createClient } from '../src/client/client.ts';
import { loadKubeconfig } from '../src/client/kubeconfig.ts';
import type { Client } from '../src/client/types.ts';
import { type ClusterPaths, clusterPaths } from '../src/cluster/paths.ts';
import { u32Bytes } from '../src/datapath/ebpf/services/fields.ts';
import { createRecords } from '../src/datapath/ebpf/services/records.ts';
import { type Codec, createCodec } from '../src/kernel/bpf/codec.ts';
import { type BpfMap, openMap } from '../src/kernel/bpf/map.ts';
import { openObject } from '../src/kernel/bpf/object.ts';
import { getPinned } from '../src/kernel/bpf/syscall.ts';
import { run } from '../src/kernel/spawn.ts';
import { mapLimited } from '../src/lib/parallel.ts';
import type { Cleanup } from './services.ts';

export interface BenchCluster {
  readonly paths: ClusterPaths;
  readonly client: Client;
  readonly nodes: readonly string[];
}

export const NAMESPACE_NAME = 'bench';
const ROOT = join(import.meta.dirname, '..');
/** Programs of this many nodes are judged by the kernel one after the other. */
const UP_MS = 600_000;
/** Requests under way at once: what is written is written in groups. */
const WRITERS = 64;
export const ENDPOINTS = 3;

/** `flags`: more of `up`. */
export async function openCluster(
  t: Cleanup,
  count: number,
  ...flags: readonly string[]
): Promise<BenchCluster> {
  const dataDir = mkdtempSync(join(tmpdir(), `heddle-bench-${process.pid}-`));
  const heddle = async (...args: string[]) => {
    const argv = [join(ROOT, 'heddle'), ...args, '--data-dir', dataDir];
    const { code, stderr } = await run(argv, { timeoutMs: UP_MS });
    if (code !== 0) throw new Error(`heddle ${args[0]} ended with ${code}: ${stderr}`);
  };
  t.after(async () => {
    await heddle('down');
    rmSync(dataDir, { recursive: true, force: true });
  });
  const nodes = ['--nodes', String(count), '--timeout', `${UP_MS / 1000}s`];
  await heddle('up', '--datapath', 'ebpf', ...nodes, '--detach', '--stand-in', '--api-port', '0', ...flags);
  return attachCluster(t, dataDir);
}

/** One that is up. */
export async function attachCluster(t: Cleanup, dataDir: string): Promise<BenchCluster> {
  const paths = clusterPaths(dataDir);
  const { client: access } = await loadKubeconfig(paths.kubeconfig);
  const client = createClient({ ...access, qps: 100_000, maxConnections: WRITERS });
  t.after(() => client.close());
  const config = JSON.parse(readFileSync(paths.config, 'utf8')) as { nodes: readonly { name: string }[] };
  return { paths, client, nodes: config.nodes.map(({ name }) => name) };
}

const endpointAddress = (i: number, k: number): string =>
  `10.${200 + (i >> 14)}.${(i >> 6) & 255}.${((i & 63) << 2) | k}`;

export const sliceOf = (i: number, addresses: readonly string[]): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: {
    namespace: NAMESPACE_NAME,
    name: `service-${i}`,
    labels: {
      'kubernetes.io/service-name': `service-${i}`,
      'endpointslice.kubernetes.io/managed-by': 'bench',
    },
  },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
});

export const endpointsOf = (i: number): string[] =>
  Array.from({ length: ENDPOINTS }, (_, k) => endpointAddress(i, k + 1));

const serviceOf = (i: number): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: NAMESPACE_NAME, name: `service-${i}` },
  spec: { ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }] },
});

/** Services and their slices, as fast as the API takes them; resolves with the cluster address of each. */
export async function createServices({ client }: BenchCluster, count: number): Promise<string[]> {
  await client.create(NAMESPACE, {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: NAMESPACE_NAME },
  });
  return mapLimited([...Array(count).keys()], WRITERS / 2, async (i) => {
    const [service] = await Promise.all([
      client.create(SERVICE, serviceOf(i)),
      client.create(ENDPOINT_SLICE, sliceOf(i, endpointsOf(i))),
    ]);
    return service.spec?.clusterIP ?? '';
  });
}

/** Mean of a histogram of an agent, in milliseconds, since the last call. */
export function createAgentMeans({ paths, nodes }: BenchCluster, histogram: string): () => Promise<number> {
  let last = { sum: 0, count: 0 };
  const read = async () => {
    const texts = await Promise.all(nodes.map((node) => metricsOf(paths.node(node).agentSocket)));
    const total = (suffix: string) =>
      texts
        .flatMap((text) => text.split('\n'))
        .filter((line) => line.startsWith(`${histogram}_${suffix}{`))
        .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    return { sum: total('sum'), count: total('count') };
  };
  return async () => {
    const now = await read();
    const mean = ((now.sum - last.sum) / (now.count - last.count)) * 1000;
    last = now;
    return mean;
  };
}

async function metricsOf(socketPath: string): Promise<string> {
  const asked = request({ socketPath, path: '/metrics' });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return text(answer);
}

export interface NodeMaps {
  readonly node: string;
  /** Addresses that connections to a service may go to, by the kernel's maps. */
  endpointsOf(address: string): string[];
  /** Entries of `frontends`. */
  frontends(): number;
  close(): void;
}

/** The maps as they are pinned, read as the programs read them. */
export function openNodeMaps({ paths }: Pick<BenchCluster, 'paths'>, node: string): NodeMaps {
  const open = (name: string): BpfMap => {
    const fd = getPinned(join(paths.node(node).bpf, 'maps', name));
    if (fd === undefined) throw new Error(`${node} has no map ${name}`);
    return openMap(fd, name);
  };
  const object = openObject(join(ROOT, 'build/bpf/sock-connect4.bpf.o'));
  const codec = <T>(name: string) => createCodec(object.btf, name) as unknown as Codec<T>;
  const records = createRecords(codec);
  const frontend = codec<{ inside: { slots: number; first: readonly number[] } }>('struct frontend');
  const frontends = open('frontends');
  const backends = open('backends');
  return {
    node,
    endpointsOf(address) {
      const found = frontends.lookup(records.frontendKey({ address, port: 80, protocol: 'TCP' }));
      if (!found) return [];
      const { slots, first } = frontend.decode(found).inside;
      return first.slice(0, slots).map((number) => {
        const backend = backends.lookup(u32Bytes(number));
        return backend ? records.readBackend(backend).address : '';
      });
    },
    frontends: () => Iterator.from(frontends.entries()).reduce((count) => count + 1, 0),
    close() {
      frontends.close();
      backends.close();
      object.close();
    },
  };
}
