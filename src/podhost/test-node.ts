/** A node for tests: a namespace, address pools, the CNI server, a stand-in server and a pod host. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ConfigMap, Pod, Secret, Service } from '../api/types.ts';
import { findCgroup2Mount, killCgroup, removeFromHierarchies } from '../kernel/cgroup.ts';
import { type CgroupSet, openCgroupSet, removeSet } from '../kernel/cgroup-set.ts';
import { createConflist } from '../cni/conflist.ts';
import { createPlugin } from '../cni/plugin.ts';
import { type CniServer, serveCni } from '../cni/server.ts';
import { type ImageStore, openStore } from '../image/store.ts';
import { createIpam, type Ipam } from '../ipam/ipam.ts';
import { closeNetns, createNetns, deleteNetns, type Netns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { connectTcp } from '../kernel/sockets.ts';
import { run } from '../kernel/spawn.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createPodHost, type PodHost, type PodHostOptions } from './pod-host.ts';
import { runStandInServer } from './stand-in/server.ts';
import type { PodStatus } from './status.ts';

const root = join(import.meta.dirname, '../..');

export interface TestNode {
  folder: string;
  ns: Netns;
  route: Route;
  ipam: Ipam;
  /** The pods as an API server would hold them; `changed()` tells the pod host. */
  pods: Map<string, Pod>;
  patches: { pod: string; status: PodStatus }[];
  events: { pod: string; type: string; reason: string; message: string }[];
  /** By `namespace/name`. */
  configMaps: Map<string, ConfigMap>;
  secrets: Map<string, Secret>;
  services: Service[];
  cgroups: CgroupSet;
  /** For pods of images. */
  images: ImageStore;
  host: PodHost;
  changed(): void;
  startHost(options?: Partial<PodHostOptions['callbacks']>): Promise<void>;
  stopHost(): Promise<void>;
  startStandIn(): void;
  stopStandIn(): Promise<void>;
  netnsPaths(): string[];
  close(): Promise<void>;
}

export async function createTestNode(
  more: Partial<Pick<PodHostOptions, 'allowHost' | 'node'>> = {},
): Promise<TestNode> {
  const made = await run(['make', '-s', '-C', join(root, 'native')]);
  if (made.code !== 0) throw new Error(made.stderr);
  const folder = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-node-`));
  const ns = createNetns(join(folder, 'node'));
  const route = openRoute(ns);
  for (const own of ['10.9.0.1/32', 'fd00:9::1/128']) route.replaceAddress('lo', own, { nodad: true });
  for (const key of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) writeSysctl(ns, key, 1);
  const socketPath = join(folder, 'cni.sock');
  const standInSocket = join(folder, 'stand-in.sock');
  const pods = new Map<string, Pod>();
  const patches: TestNode['patches'] = [];
  const events: TestNode['events'] = [];
  const configMaps: TestNode['configMaps'] = new Map();
  const secrets: TestNode['secrets'] = new Map();
  const services: Service[] = [];
  const cgroupMount = findCgroup2Mount() ?? '';
  const cgroups = openCgroupSet(cgroupMount, join(cgroupMount, basename(folder)));
  const paths = new Set<string>();
  let cni: CniServer | undefined;
  let stopHost = new AbortController();
  let hostDone: Promise<void> = Promise.resolve();
  let stopServer = new AbortController();
  let serverDone: Promise<void> = Promise.resolve();

  const node: TestNode = {
    folder,
    ns,
    route,
    ipam: await createIpam({
      cidrs: ['10.9.1.0/24', 'fd00:9:1::/64'],
      path: join(folder, 'ipam.json'),
      log: silentLog,
    }),
    pods,
    patches,
    events,
    configMaps,
    secrets,
    services,
    cgroups,
    images: openStore(join(folder, 'images')),
    host: undefined as unknown as PodHost,
    changed: () => node.host.reconcile([...pods.values()]),
    async startHost(callbacks = {}) {
      cni = await serveCni({
        socketPath,
        handlers: createPlugin({ ipam: node.ipam, node: route, mtu: 1450, log: silentLog }),
        log: silentLog,
      });
      stopHost = new AbortController();
      node.host = createPodHost({
        nodeName: 'node-1',
        standInByDefault: true,
        ...more,
        hostAddresses: ['10.9.0.1', 'fd00:9::1'],
        paths: {
          netns(name) {
            if (name === 'node-1') return ns.path;
            const path = join(folder, 'netns', name);
            paths.add(path);
            return path;
          },
          state: join(folder, 'state'),
          podLogs: join(folder, 'logs'),
          standInSocket,
        },
        conflist: createConflist({
          list: { cniVersion: '1.1.0', name: 'heddle', plugins: [{ type: 'heddle-cni' }] },
          path: [join(root, 'build')],
          cacheDir: join(folder, 'cni'),
          env: { HEDDLE_CNI_SOCKET: socketPath },
        }),
        dns: { nameservers: ['10.96.0.10'], clusterDomain: 'cluster.local' },
        processes: {
          program: join(root, 'build/heddle-pause'),
          images: node.images,
          sockets: join(folder, 'pause'),
          cri: {
            endpoint: `unix://${join(folder, 'containerd.sock')}`,
            pods: join(folder, 'cri'),
            socketPath: join(folder, 'cri.sock'),
            mounts: join(folder, 'cri-mounts'),
            cluster: basename(folder),
            node: 'node-1',
            cgroup: basename(cgroups.path),
          },
          seccomp: join(folder, 'seccomp'),
          cgroups,
          objects: {
            configMap: async (namespace, name) => configMaps.get(`${namespace}/${name}`),
            secret: async (namespace, name) => secrets.get(`${namespace}/${name}`),
            token: async (pod, { audience = 'api', seconds }) => ({
              token: `token of ${pod.spec?.serviceAccountName} for ${audience}`,
              expires: Date.now() + seconds * 1000,
            }),
          },
          services: () => services,
          event: (pod, type, reason, message) =>
            void events.push({ pod: pod.metadata.name, type, reason, message }),
        },
        callbacks: {
          async patchPodStatus(pod, status) {
            const key = pod.metadata.uid!;
            const now = pods.get(key);
            if (!now) throw Object.assign(new Error('no such pod'), { code: 404 });
            pods.set(key, { ...now, status });
            patches.push({ pod: pod.metadata.name, status });
            node.changed();
          },
          async deletePod(pod) {
            pods.delete(pod.metadata.uid!);
            node.changed();
          },
          ...callbacks,
        },
        connectTcp: (to) => connectTcp(ns, to),
        drainMs: 50,
        clock: systemClock,
        log: silentLog,
      });
      hostDone = node.host.run(stopHost.signal);
      node.changed();
    },
    async stopHost() {
      stopHost.abort(new Error('test'));
      await hostDone;
      await cni?.close();
    },
    startStandIn() {
      stopServer = new AbortController();
      serverDone = runStandInServer(
        {
          socketPath: standInSocket,
          statePath: join(folder, 'stand-in.json'),
          clock: systemClock,
          log: silentLog,
        },
        stopServer.signal,
      );
    },
    async stopStandIn() {
      stopServer.abort();
      await serverDone;
    },
    netnsPaths: () => [...paths],
    async close() {
      await node.stopHost();
      await node.stopStandIn();
      killCgroup(cgroups.path);
      await removeSet(cgroups, { timeoutMs: 30_000 });
      removeFromHierarchies(basename(cgroups.path));
      route.close();
      for (const path of [...paths, ns.path]) deleteNetns(path);
      closeNetns(ns);
      await rm(folder, { recursive: true, force: true });
    },
  };
  return node;
}

export function testPod(name: string, spec: Partial<NonNullable<Pod['spec']>> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '1' },
    spec: {
      nodeName: 'node-1',
      containers: [{ name: 'main', image: 'shop/main:1', ports: [{ containerPort: 8080 }] }],
      ...spec,
    },
  };
}

/** Waits until `test` gives something; fails after a minute with `what`. */
export async function eventually<T>(what: string, test: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (let i = 0; i < 3000; i++) {
    const value = await test();
    if (value) return value;
    await systemClock.sleep(20);
  }
  throw new Error(`did not happen: ${what}`);
}

export const isReady = (pod: Pod | undefined): boolean =>
  pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
