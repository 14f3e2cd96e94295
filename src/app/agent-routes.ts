/** What an agent answers on its socket. */
import type { PodUseWatch } from '../controllers/node/pod-use.ts';
import type { DatapathController } from '../controllers/node/datapath.ts';
import type { Movable } from '../datapath/movable.ts';
import type { PathWatch } from '../datapath/path/watch.ts';
import { NO_RULE } from '../datapath/plan/pairs.ts';
import { unfold } from '../datapath/plan/unfold.ts';
import type { PodTraces } from '../cni/strays.ts';
import type { Ipam } from '../ipam/ipam.ts';
import type { Route } from '../kernel/route.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { METRICS_CONTENT_TYPE, type Metrics } from '../lib/metrics.ts';
import { type Routes, type UpgradeHandler, json } from '../lib/socket-server.ts';
import type { AuditCount } from '../observe/audit-count.ts';
import type { FlowLog } from '../observe/flow-log.ts';
import { podHostRoutes } from '../podhost/http.ts';
import type { PodHost } from '../podhost/pod-host.ts';
import type { AgentBgp } from './bgp.ts';
import { datapathRoutes } from './datapath-routes.ts';
import { doctorRoutes } from './doctor-routes.ts';
import type { NodeWay } from './node-way.ts';

export interface AgentRoutesDeps {
  readonly node: string;
  readonly podHost: PodHost;
  readonly datapath: DatapathController;
  readonly backend: Movable;
  moveTo(name: string): Promise<void>;
  readonly way: NodeWay;
  readonly flowLog: FlowLog;
  readonly metrics: Metrics;
  readonly podUse: Pick<PodUseWatch, 'over'>;
  readonly paths: PathWatch;
  readonly ipam: Ipam;
  /** What is told of pods' addresses. */
  readonly addresses: Routes;
  readonly traces: PodTraces;
  readonly route: Route;
  /** Before each scrape: what cannot be read at once. */
  refreshMetrics(): Promise<void>;
  readonly bgp: Pick<AgentBgp, 'overview' | 'routes'>;
  readonly log: Log;
}

export function agentRoutes(deps: AgentRoutesDeps): {
  routes: Routes;
  upgrades: Record<string, UpgradeHandler>;
} {
  const { podHost, datapath, backend, flowLog, metrics } = deps;
  const pods = podHostRoutes({ host: podHost, node: deps.node, metrics });
  return {
    routes: {
      ...pods.routes,
      ...deps.bgp.routes,
      ...deps.addresses,
      ...datapathRoutes({ datapath, backend }),
      ...doctorRoutes({ ...deps, attachments: podHost.attachments }),
      'GET /status': json(() => ({
        pid: process.pid,
        datapath: {
          backend: backend.name,
          ...backend.capabilities,
          ...datapath.status(),
          way: deps.way.now(),
          beyondShare: deps.podUse.over(),
          maps: backend.maps?.() ?? [],
        },
        pods: podHost.status(),
        bgp: deps.bgp.overview(),
        paths: deps.paths.reports(),
      })),
      'GET /paths': json((url) => pathsTo(url, deps.paths)),
      'GET /flows': json((url) => flowLog.since(number(url, 'since', 0), number(url, 'limit', 20_000))),
      'GET /datapath/counters': json(async () => ruleCounters(await backend.counters(), datapath)),
      'GET /policy/audit': json(async () => auditCounts(await backend.counters(), datapath)),
      'GET /datapath/will-cut': json((url) => backend.willCut(url.searchParams.get('to') ?? '')),
      'POST /datapath/move': json(async (url) => {
        await deps.moveTo(url.searchParams.get('to') ?? '');
        return { backend: backend.name };
      }),
      'GET /datapath/route': json(() => deps.way.now()),
      'POST /datapath/route': json((url) =>
        deps.way.step(url.searchParams.get('step') ?? '', url.searchParams.get('to') ?? ''),
      ),
      'GET /datapath/verify': json(() => datapath.verify()),
      'GET /metrics': async (_req, res) => {
        await deps.refreshMetrics();
        res.writeHead(200, { 'content-type': METRICS_CONTENT_TYPE });
        res.end(metrics.text());
      },
    },
    upgrades: pods.upgrades,
  };
}

type Counters = Awaited<ReturnType<Movable['counters']>>;

function ruleCounters(counters: Counters, { rule }: DatapathController) {
  return [...unfold(counters, rule).rules].map(([number, counter]) => ({
    rule: number,
    text: rule(number)?.text,
    ...counter,
  }));
}

function auditCounts(counters: Counters, { rule }: DatapathController): AuditCount[] {
  const textOf = (number: number) => (number === 0 ? NO_RULE : rule(number)?.text);
  return unfold(counters, rule).audited.map(({ direction, verdict, rule: own, audit, packets, bytes }) => ({
    direction,
    enforced: { verdict, rule: own, text: textOf(own) },
    audit: { ...audit, text: textOf(audit.rule) },
    packets,
    bytes,
  }));
}

/** Of all nodes what is known; of `node` what is measured now: `round-trips` of small packets, and all sizes proved. */
async function pathsTo(url: URL, paths: PathWatch) {
  const node = url.searchParams.get('node');
  if (node === null) return { reports: paths.reports() };
  const roundTrips = await paths.roundTrips(node, {
    count: Math.min(100, number(url, 'round-trips', 0)),
    timeoutMs: Math.min(25_000, number(url, 'timeout', 3000)),
  });
  const reports = url.searchParams.has('prove') ? await paths.check(node) : [];
  return { roundTrips, reports };
}

function number(url: URL, name: string, fallback: number): number {
  const text = url.searchParams.get(name);
  if (text === null) return fallback;
  if (!/^\d{1,15}$/.test(text))
    throw new HeddleError('BadRequest', `${name}=${text}: expected a whole number`);
  return Number(text);
}
