/** Addresses of a node's pods, wired: the book, the objects that say what is in it, what the agent answers of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostPort } from '../api/host-ports.ts';
import {
  CALICO_STORED_IP_RESERVATION,
  CILIUM_NODE,
  CILIUM_POD_IP_POOL,
  IP_RESERVATION,
} from '../api/kinds.ts';
import type { CiliumPodIpPool } from '../api/ipam-types.ts';
import type { Node, Pod } from '../api/types.ts';
import { createInformer, type Informer } from '../client/informer.ts';
import type { Client } from '../client/types.ts';
import type { ClusterConfig, NodeConfig } from '../cluster/config.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { HEDDLE_LIST } from '../cni/conflist.ts';
import { watchOrphans } from '../cni/orphans.ts';
import type { Details } from '../cni/attachment.ts';
import { findStrays, type PodTraces } from '../cni/strays.ts';
import type { PluginDeps } from '../cni/plugin.ts';
import { exposeIpam } from '../controllers/node/ipam-metrics.ts';
import { type IpamReport, ipamReport } from '../controllers/node/ipam-report.ts';
import { runPodBlocks } from '../controllers/node/pod-blocks.ts';
import { type AddressedNamespace, podWishes } from '../controllers/node/pod-wishes.ts';
import { blocksOf } from '../controllers/pod-blocks-ledger.ts';
import { createIpam, type Ipam } from '../ipam/ipam.ts';
import type { Route } from '../kernel/route.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { json, type Routes } from '../lib/socket-server.ts';
import type { Task } from '../lib/tasks.ts';
import { createControlRoutes } from './control-routes.ts';

export interface PodAddressesDeps {
  readonly client: Client;
  readonly config: ClusterConfig;
  readonly self: NodeConfig;
  readonly paths: ClusterPaths;
  readonly uplink: string;
  readonly nodes: Pick<Informer<Node>, 'get'>;
  readonly namespaces: Pick<Informer<never, AddressedNamespace>, 'get'>;
  readonly ownPods: Pick<Informer<Pod>, 'get'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Milliseconds after which an API server is asked again for a kind that it did not have. */
const KIND_RETRY = 30_000;
/** Another API server may lack these kinds. */
interface Optional {
  readonly log: Log;
  readonly absentFor: number;
}

/** Milliseconds between looks for what nobody owns. */
const LEAKS = 60_000;
/** Milliseconds that a pod waits for a block. */
const PATIENCE = 5000;

export interface PodAddresses {
  readonly ipam: Ipam;
  readonly traces: PodTraces;
  readonly podPools: Informer<CiliumPodIpPool>;
  readonly blockHolders: ReturnType<typeof blockHolderInformer>;
  readonly reservations: readonly ReturnType<typeof reservationInformer>[];
  readonly podWishes: NonNullable<PluginDeps['podWishes']>;
  readonly routes: Routes;
  /** Once the rest of the agent is there. */
  tasks(rest: { metrics: Metrics; route: Route; attachments(): Promise<ReadonlySet<string>> }): Task[];
}

const blockHolderInformer = (client: Client, options: Optional) =>
  createInformer(client, CILIUM_NODE, options);
const reservationInformer = (client: Client, kind: typeof IP_RESERVATION, options: Optional) =>
  createInformer(client, kind, options);

/** Of a pod's record, what the book says too: the ports of the node that lead to it. */
function rememberedOf(path: string): Details | undefined {
  try {
    const { hostPorts = [] } = JSON.parse(readFileSync(path, 'utf8')) as { hostPorts?: HostPort[] };
    const protocols = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;
    const ports = hostPorts.map((port) => ({ ...port, protocol: protocols[port.protocol] }));
    return { network: HEDDLE_LIST.name, ...(ports.length > 0 ? { ports } : {}) };
  } catch {
    return undefined;
  }
}

export async function openPodAddresses(deps: PodAddressesDeps): Promise<PodAddresses> {
  const { client, self, paths, clock, log } = deps;
  const optional: Optional = { log, absentFor: KIND_RETRY };
  const ipam = await createIpam({
    cidrs: self.podCidrs,
    path: join(paths.node(self.name).state, 'ipam.json'),
    patienceMs: PATIENCE,
    log,
  });
  const traces: PodTraces = {
    netnsOf: (uid) => paths.netns(`pod-${uid}`),
    detailsOf: (uid) => rememberedOf(join(paths.node(self.name).state, 'pods', uid, 'pod.json')),
  };
  const podPools = createInformer(client, CILIUM_POD_IP_POOL, optional);
  const blockHolders = blockHolderInformer(client, optional);
  const reservations = [IP_RESERVATION, CALICO_STORED_IP_RESERVATION].map((kind) =>
    reservationInformer(client, kind, optional),
  );
  const reserved = () =>
    reservations
      .flatMap((informer) => informer.list())
      .map(({ metadata, spec }) => ({ name: metadata.name, cidrs: spec?.reservedCIDRs ?? [] }));
  for (const informer of reservations)
    informer.onChange(() => ipam.setReserved(reserved().flatMap(({ cidrs }) => cidrs)));
  const routeControlPlane = createControlRoutes({
    netns: paths.netns('control-plane'),
    uplink: deps.uplink,
    addresses: self.addresses,
    log,
  });
  blockHolders.onChange((key, now) => {
    if (key === self.name) routeControlPlane(blocksOf(now));
  });

  return {
    ipam,
    traces,
    podPools,
    blockHolders,
    reservations,
    podWishes({ namespace, name, uid }) {
      const pod = deps.ownPods.get(`${namespace}/${name}`);
      // Of another pod of that name nothing is taken, least of all its address.
      if (!pod || pod.metadata.uid !== uid) return {};
      return podWishes(pod, deps.namespaces.get(namespace), podPools.list());
    },
    routes: {
      'GET /ipam': json((): IpamReport => ipamReport(ipam, podPools.list(), reserved())),
    },
    tasks({ metrics, route, attachments }) {
      const { repaired } = exposeIpam(metrics, ipam);
      return [
        {
          name: 'blocks of pools',
          run: (signal) =>
            runPodBlocks(
              {
                client,
                node: self.name,
                addresses: self.addresses,
                home: self.podCidrs,
                ipam,
                pools: podPools,
                holders: blockHolders,
                nodes: deps.nodes,
                clock,
                log,
              },
              signal,
            ),
        },
        {
          name: 'leaks of addresses',
          run: (signal) =>
            watchOrphans(
              {
                node: route,
                ipam,
                known: attachments,
                strays: (known) => findStrays({ node: route, ipam, ...traces }, known),
                everyMs: LEAKS,
                clock,
                log,
                removed: () => repaired.inc(),
              },
              signal,
            ),
        },
      ];
    },
  };
}
