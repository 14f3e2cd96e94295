/** What `heddle status` knows, as data. Its shape is docs/schemas/status.json. */
import { release } from 'node:os';
import { join } from 'node:path';
import { type Kind, NODE, POD } from '../api/kinds.ts';
import type { Client } from '../client/types.ts';
import { type Holder, lockHolder } from '../cluster/lock.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import type { SupervisorStatus } from '../cluster/supervisor-protocol.ts';
import { hasRuntime } from '../cluster/teardown.ts';
import { probeBpf } from '../kernel/bpf/probe.ts';
import { probe } from '../kernel/features.ts';
import { type LimitFeatures, probeLimits } from '../kernel/limit-features.ts';
import { probeTunnels } from '../kernel/tunnel-features.ts';
import { pss } from '../kernel/process.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { callSocket } from '../lib/unix-http.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot } from './flags.ts';
import { isReady, isReplaced, type KubeLike, whyNotReady } from './readiness.ts';
import { askRuntime, type ContainerRuntimeStatus } from './status-runtime.ts';
import { type AuditSummary, askAudit } from './status-audit.ts';
import { askBgp, type BgpSummary } from './status-bgp.ts';
import { gatherRouting, type RoutingStatus } from './status-routing.ts';
import { readConfig } from './up-request.ts';

export interface Status {
  readonly id: string;
  readonly dataDir: string;
  /** `running`; `busy`: on its way up or down; `unsupervised`: it runs, its supervisor does not; `down`: kept data only. */
  readonly state: 'running' | 'busy' | 'unsupervised' | 'down';
  readonly apiServer: {
    readonly url: string;
    readonly version: string | null;
    readonly error: string | null;
  };
  /** Of every process of the cluster; null without a supervisor to ask. Bytes. */
  readonly memory: { readonly processes: number; readonly pss: number } | null;
  readonly processes: readonly ProcessRow[];
  /** Null where the API server does not answer. */
  readonly nodes: readonly ObjectRow[] | null;
  readonly pods: {
    readonly ready: number;
    readonly total: number;
    readonly waiting: readonly ObjectRow[];
  } | null;
  readonly publish: readonly { readonly from: string; readonly to: string }[];
  /** Of policies that are audited; null where no node answers. */
  readonly audit: AuditSummary | null;
  /** Sessions of BGP; null where no node answers. */
  readonly bgp: BgpSummary | null;
  /** What its nodes were started with; "heddle datapath status" says what each has now. */
  readonly datapath: string | null;
  /** Pods may have files of the machine (`up --allow-host`). */
  readonly allowHost: boolean;
  readonly routing: RoutingStatus;
  /** What limits of pods that run programs are set by; those that nothing sets, and why. */
  readonly limits: LimitFeatures;
  /** For pods of runtime `cri`. */
  readonly containerRuntime: ContainerRuntimeStatus;
  readonly features: readonly { readonly name: string; readonly ok: boolean; readonly why: string | null }[];
  readonly versions: { readonly node: string; readonly kernel: string };
}

export interface ProcessRow {
  readonly name: string;
  readonly state: string;
  readonly pid: number | null;
  /** Seconds. */
  readonly uptime: number | null;
  readonly restarts: number;
  /** Bytes of memory that it is to blame for. */
  readonly pss: number | null;
  readonly lastExit: string | null;
  readonly log: string;
}

export interface ObjectRow {
  readonly name: string;
  readonly ready: boolean;
  readonly why: string | null;
}

/** @throws HeddleError `NoCluster`, `NotRoot` */
export async function gatherStatus(paths: ClusterPaths, deps: CliDeps): Promise<Status> {
  requireRoot(deps.isRoot, 'looking into a cluster');
  const config = readConfig(paths);
  if (!config)
    throw new HeddleError('NoCluster', `there is no cluster in ${paths.dataDir}`, {
      hint: 'start one with "heddle up", or name another with --data-dir',
    });
  const holder = lockHolder(paths.lock);
  const supervisor = holder ? await askSupervisor(paths) : undefined;
  const objects = hasRuntime(paths) ? await askApi(paths) : { error: 'the cluster is down' };
  return {
    id: paths.id,
    dataDir: paths.dataDir,
    state: stateOf(holder, supervisor, paths),
    apiServer: {
      url: `https://127.0.0.1:${config.apiServer.publishedPort}`,
      version: objects.version ?? null,
      error: objects.error ?? null,
    },
    memory: supervisor?.memory ?? null,
    processes: supervisor ? processRows(supervisor) : [],
    nodes: objects.nodes ?? null,
    pods: objects.pods ?? null,
    publish: (supervisor?.publish ?? []).map(({ namespace, service, port, hostPort }) => ({
      from: `127.0.0.1:${hostPort}`,
      to: `${namespace}/${service}:${port}`,
    })),
    audit: hasRuntime(paths)
      ? await askAudit(
          paths,
          config.nodes.map(({ name }) => name),
        )
      : null,
    bgp: hasRuntime(paths)
      ? await askBgp(
          paths,
          config.nodes.map(({ name }) => name),
        )
      : null,
    datapath: config.datapath ?? null,
    allowHost: config.allowHost === true,
    routing: await gatherRouting(paths, config),
    limits: probeLimits(),
    containerRuntime: await askRuntime(config.criEndpoint),
    features: Object.entries({ ...probe(), ...probeTunnels(), ...probeBpf() }).map(([name, { ok, why }]) => ({
      name,
      ok,
      why: why ?? null,
    })),
    versions: { node: process.version, kernel: release() },
  };
}

async function askSupervisor(paths: ClusterPaths): Promise<SupervisorStatus | undefined> {
  const call = { socketPath: paths.supervisorSocket, path: '/status', timeoutMs: 3000 };
  return callSocket<SupervisorStatus>(call).catch(() => undefined);
}

function stateOf(
  holder: Holder | undefined,
  supervisor: SupervisorStatus | undefined,
  paths: ClusterPaths,
): Status['state'] {
  if (supervisor?.phase === 'running') return 'running';
  if (holder) return 'busy';
  return hasRuntime(paths) ? 'unsupervised' : 'down';
}

function processRows(supervisor: SupervisorStatus): ProcessRow[] {
  const own: ProcessRow = {
    name: 'supervisor',
    state: 'running',
    pid: supervisor.pid,
    uptime: Math.round((Date.now() - Date.parse(supervisor.startedAt)) / 1000),
    restarts: 0,
    pss: pss(supervisor.pid) ?? null,
    lastExit: null,
    log: join(supervisor.dataDir, 'logs', 'supervisor.log'),
  };
  return [
    own,
    ...supervisor.processes.map(({ name, state, pid, uptime, restarts, lastExit, log, pss: memory }) => ({
      name,
      state,
      pid: pid ?? null,
      uptime: uptime === undefined ? null : Math.round(uptime / 1000),
      restarts,
      pss: memory ?? null,
      lastExit: lastExit ? `${lastExit.signal ?? `code ${lastExit.code}`} at ${lastExit.at}` : null,
      log,
    })),
  ];
}

interface ApiAnswers {
  readonly version?: string;
  readonly error?: string;
  readonly nodes?: ObjectRow[];
  readonly pods?: NonNullable<Status['pods']>;
}

async function askApi(paths: ClusterPaths): Promise<ApiAnswers> {
  let client: Client | undefined;
  try {
    client = await connect(paths);
    const version = await client.request('GET', '/version', { timeoutMs: 3000 });
    const nodes = await rows(client, NODE);
    const pods = await rows(client, POD);
    const waiting = pods.filter(({ ready }) => !ready);
    return {
      version: (JSON.parse(version.text) as { gitVersion?: string }).gitVersion,
      nodes,
      pods: { ready: pods.length - waiting.length, total: pods.length, waiting },
    };
  } catch (error) {
    return { error: errorText(error) };
  } finally {
    client?.close();
  }
}

/**
 * A node with a path that lies works on, for packets that are small; one whose port is taken answers no probes; one that
 * is short of memory, disk or processes takes no new pods.
 */
const troubleOf = ({ status }: KubeLike): string | undefined =>
  status?.conditions?.find(
    (one) =>
      (one.type === 'heddle.dev/PathMTU' && (one.status === 'False' || one.reason === 'PortTaken')) ||
      (/^(Memory|Disk|PID)Pressure$/.test(one.type) && one.status === 'True'),
  )?.message;

/** Pods that are done, or have failed and been replaced, are not counted. */
async function rows<T extends KubeLike>(client: Client, kind: Kind<T>): Promise<ObjectRow[]> {
  const { items } = await client.list(kind);
  return items
    .filter((object) => object.status?.phase !== 'Succeeded' && !isReplaced(object))
    .map((object) => {
      const { name, namespace } = object.metadata;
      const ready = isReady(object);
      return {
        name: namespace ? `${namespace}/${name}` : name,
        ready,
        why: (ready ? troubleOf(object) : whyNotReady(object)) ?? null,
      };
    });
}
