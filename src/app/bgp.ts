/** BGP on a node: the speaker's parts out of the node's namespace, and what the agent answers of it. */
import { readFileSync } from 'node:fs';
import { BGP_SECRETS } from '../api/cilium-bgp-words.ts';
import {
  CILIUM_BGP_ADVERTISEMENT,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_PEER_CONFIG,
  CILIUM_NODE,
  CILIUM_POD_IP_POOL,
  type Kind,
  SECRET,
} from '../api/kinds.ts';
import type { Secret, Service } from '../api/types.ts';
import { createFib } from '../bgp/fib.ts';
import { defaultGateway, linkAddresses } from '../bgp/links.ts';
import { registerBgpMetrics } from '../bgp/metrics.ts';
import { startSpeaker } from '../bgp/speaker.ts';
import { systemTimers } from '../bgp/timers.ts';
import { createTcpTransport } from '../bgp/transport.ts';
import { createInformer, type Informer } from '../client/informer.ts';
import type { Client } from '../client/types.ts';
import { createNodeBgp, type BgpSecrets, type NodeBgp } from '../controllers/node/bgp.ts';
import type { BgpMemory } from '../controllers/node/bgp-speakers.ts';
import {
  advertisedRows,
  availableRows,
  type BgpOverview,
  overviewOf,
  peerRows,
} from '../controllers/node/bgp-report.ts';
import type { PlanState } from '../datapath/plan/tables.ts';
import type { Route } from '../kernel/route.ts';
import { tcpMd5Drops } from '../kernel/tcp-options.ts';
import type { Clock } from '../lib/clock.ts';
import { errnoCode, HeddleError } from '../lib/errors.ts';
import { replaceFileNow } from '../lib/files.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { json, type Routes } from '../lib/socket-server.ts';

export interface AgentBgpDeps {
  readonly client: Client;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  readonly clusterCidrs: readonly string[];
  readonly services: Informer<Service>;
  readonly plan: Pick<PlanState, 'services'>;
  readonly ready: Promise<void>;
  readonly route: Route;
  /** What the next agent goes on with; gone with the node's namespace. */
  readonly memoryPath: string;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts when the process shall end. */
  readonly signal: AbortSignal;
}

const RT_TABLE_MAIN = 254;
/** Milliseconds after which an API server is asked again for a kind that it did not have. */
const KIND_RETRY = 30_000;

export interface AgentBgp extends NodeBgp {
  overview(): BgpOverview;
  readonly routes: Routes;
}

export function createAgentBgp(deps: AgentBgpDeps): AgentBgp {
  const { client, node, route, metrics, log, clock } = deps;
  const follow = <T>(kind: Kind<T>, fieldSelector?: string) =>
    createInformer(client, kind, { log, absentFor: KIND_RETRY, ...(fieldSelector ? { fieldSelector } : {}) });
  const informers = {
    nodeConfigs: follow(CILIUM_BGP_NODE_CONFIG, `metadata.name=${node}`),
    peerConfigs: follow(CILIUM_BGP_PEER_CONFIG),
    advertisements: follow(CILIUM_BGP_ADVERTISEMENT),
    blocks: follow(CILIUM_NODE, `metadata.name=${node}`),
    pools: follow(CILIUM_POD_IP_POOL),
  };
  const linkIndex = (name: string) => route.link(name)?.index;
  const bgp = createNodeBgp({
    ...deps,
    ...informers,
    secrets: () => followSecrets(deps),
    memory: fileMemory(deps.memoryPath, log),
    clearRoutes: (metric) => createFib(route, { table: RT_TABLE_MAIN, metric, log }).clear(),
    gateway: (family) => defaultGateway(route, family),
    addressesOf: (link) => linkAddresses(route, link),
    startSpeaker: (config) =>
      startSpeaker({
        config,
        transport: createTcpTransport({ netns: undefined, linkIndex, log }),
        route,
        md5Drops: () => tcpMd5Drops(undefined),
        timers: systemTimers,
        log,
      }),
  });
  registerBgpMetrics(metrics, () =>
    bgp.speakers().map(({ name, speaker }) => ({ instance: name, ...speaker.status() })),
  );
  return {
    ...bgp,
    async run(signal) {
      const copies = Object.values(informers).map((informer) => informer.run(signal));
      await Promise.all([...copies, bgp.run(signal)]);
    },
    overview: () => overviewOf(bgp.speakers(), bgp.problems(), clock.now()),
    routes: routesOf(bgp, clock),
  };
}

function followSecrets({ client, log, signal }: AgentBgpDeps): BgpSecrets {
  const informer = createInformer<Secret, { text: string | undefined }>(client, SECRET, {
    log,
    namespace: BGP_SECRETS,
    keep: ({ data }) => ({
      text: data?.['password'] === undefined ? undefined : Buffer.from(data['password'], 'base64').toString(),
    }),
  });
  void informer.run(signal);
  return {
    get: (name) => informer.get(`${BGP_SECRETS}/${name}`),
    onChange: (listener) => void informer.onChange(listener),
    synced: () => informer.synced(),
  };
}

/** Without it peers are not told that this is a restart, and routes that were learned are told and written anew. */
function fileMemory(path: string, log: Log): BgpMemory {
  return {
    load() {
      try {
        return JSON.parse(readFileSync(path, 'utf8')) as Record<string, number>;
      } catch (error) {
        if (errnoCode(error) !== 'ENOENT') log.warn('what BGP was doing before is not known', { path });
        return {};
      }
    },
    save: (metrics) => replaceFileNow(path, JSON.stringify(metrics), 0o600),
  };
}

function routesOf(bgp: NodeBgp, clock: Clock): Routes {
  return {
    'GET /bgp/peers': json(() => ({
      peers: peerRows(bgp.speakers(), clock.now()),
      problems: bgp.problems(),
    })),
    'GET /bgp/routes': json((url) => {
      const which = url.searchParams.get('which') ?? 'available';
      if (which === 'available') return availableRows(bgp.speakers());
      if (which === 'advertised') return advertisedRows(bgp.speakers());
      throw new HeddleError('BadRequest', `which=${which}: expected available or advertised`);
    }),
    // The cluster ends: peers must not wait for this node.
    'POST /bgp/leave': json(async () => {
      await bgp.leave('the cluster is going down');
      return {};
    }),
  };
}
