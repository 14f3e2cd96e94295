/**
 * The pods of one node: what the API server wants here is made, kept and taken away. One worker per pod, one
 * step at a time; each step can be repeated, because the agent may be killed in any of them.
 */
import type { Runtime } from '../api/runtime.ts';
import type { Pod } from '../api/types.ts';
import type { DnsSettings } from '../dns/resolv-conf.ts';
import type { Conflist } from '../cni/conflist.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { CheckDeps } from './health/check.ts';
import { createAdmission, type NodeState, type Rejection, rejectedStatus } from './admission.ts';
import { createCriNode, type CriNode } from './cri/node.ts';
import { createCriSandbox } from './cri/sandbox.ts';
import { createPodWorker, type PodWorker, type WorkerDeps } from './pod-worker.ts';
import { type ServedPort } from './ports.ts';
import type { ProcessOptions } from './process/attach.ts';
import { createRecords } from './records.ts';
import { createSandbox } from './sandbox.ts';
import { createStandInClient, type StandInClient } from './stand-in/client.ts';
import { createStatusWriter } from './status-writer.ts';
import type { PodStatus } from './status.ts';

export interface PodHostOptions {
  nodeName: string;
  /** Pods that ask for no runtime are stand-ins: `heddle up --stand-in`. */
  standInByDefault: boolean;
  /** Pods may have files of the machine: `heddle up --allow-host`. */
  allowHost?: boolean | undefined;
  /** What pods run as that ask for no runtime: `heddle up --runtime`. */
  runtimeByDefault?: Runtime | undefined;
  /** Underlay addresses of the node, IPv4 first. */
  hostAddresses: readonly string[];
  paths: {
    /** Bind path of a namespace by name: `pod-<uid>`, or the node's own. */
    netns(name: string): string;
    /** The node's state folder. */
    state: string;
    podLogs: string;
    standInSocket: string;
  };
  conflist: Conflist;
  dns: DnsSettings;
  /** What the node has and is short of; absent: it takes every pod. */
  node?(): NodeState;
  /** For pods that run programs. */
  processes: ProcessOptions;
  callbacks: {
    /** Replaces the status of this very pod (uid). An error with `code` 404 or 409 means it is gone. */
    patchPodStatus(pod: Pod, status: PodStatus): Promise<void>;
    /** Deletes the pod object at once (grace period 0, uid as precondition). 404 and 409 count as done. */
    deletePod(pod: Pod): Promise<void>;
    /** Resolves when this node's data path has the pod; not asked for pods on the node's own network. Absent: nothing to wait for. */
    barrier?(pod: Pod, signal: AbortSignal): Promise<void>;
    /** Called once with the uids of adopted pods, before any pod is touched: what else is there has no owner. */
    removeOrphans?(known: ReadonlySet<string>): Promise<unknown>;
    /** Numeric target ports of services that select the pod. */
    extraPorts?(pod: Pod): readonly ServedPort[];
  };
  /** Opens a connection in the node's namespace: for probes. */
  connectTcp: CheckDeps['connectTcp'];
  /** Milliseconds a terminating pod goes on serving while endpoints are withdrawn. Default 1,000. */
  drainMs?: number;
  /** Pods set up or taken down at once. Default 4. */
  concurrency?: number;
  clock: Clock;
  log: Log;
}

export interface LocalPod {
  uid: string;
  namespace: string;
  name: string;
  /** The host's end of its link. */
  interface: string;
  addresses: string[];
  netns: string;
  /** Of the pod's end of its link. */
  mac?: string | undefined;
  /** Bits per second. */
  bandwidth?: { ingress?: number; egress?: number } | undefined;
}

export interface PodHost {
  /** The pods that the API server has for this node, all of them; call it whenever one changes. */
  reconcile(pods: readonly Pod[]): void;
  run(signal: AbortSignal): Promise<void>;
  /** What failed is tried again at once. */
  retry(): void;
  /** Resolves when what earlier runs left has been looked at, before any pod is touched. */
  restored(): Promise<void>;
  /** Pods that have a link on this node now. */
  localPods(): LocalPod[];
  onLocalPodsChanged(listener: () => void): void;
  find(namespace: string, name: string): PodWorker | undefined;
  /** Container ids of what it wants on the node's network, or has on its way there or away, once it has found all of them. */
  attachments(): Promise<ReadonlySet<string>>;
  readonly standIn: StandInClient;
  /** Where a pod's own files are: resolv.conf, hosts, … */
  folder(uid: string): string;
  /** heddle-pause */
  readonly pause: string;
  status(): PodHostStatus;
}

export interface PodHostStatus {
  pods: number;
  ready: number;
  failing: { pod: string; error: string }[];
  setUps: number;
  tearDowns: number;
  adopted: number;
  statusWrites: number;
}

export function createPodHost(options: PodHostOptions): PodHost {
  const { clock, log, paths, callbacks } = options;
  const records = createRecords(`${paths.state}/pods`, log);
  const workers = new Map<string, PodWorker>();
  const listeners: (() => void)[] = [];
  const restored = Promise.withResolvers<void>();
  const counts = { setUps: 0, tearDowns: 0, adopted: 0 };
  /** By uid, pods that the node has not taken. */
  const rejected = new Map<string, Rejection>();
  let desired: readonly Pod[] | undefined;
  let running: AbortSignal | undefined;

  const standIn = createStandInClient({
    socketPath: paths.standInSocket,
    wanted: () => [...workers.values()].map((worker) => worker.standIn()).filter((one) => one !== undefined),
    clock,
    log,
  });
  let criNode: CriNode | undefined;
  const cri = () => (criNode ??= createCriNode(options.processes.cri, { clock, log }));
  const deps: WorkerDeps = {
    cri,
    nodeName: options.nodeName,
    standInByDefault: options.standInByDefault,
    allowHost: options.allowHost === true,
    runtimeByDefault: options.runtimeByDefault,
    hostAddresses: options.hostAddresses,
    paths,
    dns: options.dns,
    processes: options.processes,
    callbacks,
    connectTcp: options.connectTcp,
    drainMs: options.drainMs ?? 1000,
    clock,
    log,
    records,
    sandbox: createSandbox(
      options.conflist,
      createCriSandbox({
        node: cri,
        folder: records.folder,
        podLogs: paths.podLogs,
        clusterDomain: options.dns.clusterDomain,
      }),
      options.hostAddresses,
    ),
    standIn,
    statuses: createStatusWriter({ patch: callbacks.patchPodStatus, clock, log }),
    slots: createSlots(options.concurrency ?? 4),
    counts,
    changed() {
      for (const listener of listeners) listener();
    },
    gone(uid) {
      workers.delete(uid);
      // It came back while it was taken down. One that is only waiting for its deletion to be seen has not.
      const again = desired?.find(({ metadata }) => metadata.uid === uid);
      if (again && !again.metadata.deletionTimestamp) distribute();
    },
  };

  /** Everything a restart finds is adopted first; what nobody wants any more goes at the first reconcile. */
  async function restore(signal: AbortSignal): Promise<void> {
    const found = await records.load();
    await Promise.all(
      found.map(async (record) => {
        const worker = createPodWorker(deps, record.uid, signal);
        workers.set(record.uid, worker);
        await worker.adopt(record);
      }),
    );
  }

  /** Once for all that are new: what is here comes first. */
  function admissionOf(wanted: ReadonlyMap<string, Pod>) {
    const admission = options.node && createAdmission(options.node());
    for (const [uid, pod] of wanted)
      if ((workers.has(uid) || runs(pod)) && !hasEnded(pod)) admission?.take(pod);
    return {
      /** Whoever is not taken hears of it. */
      isTaken(uid: string, pod: Pod): boolean {
        const before = rejected.get(uid);
        const why = before ?? admission?.admit(pod);
        if (!why) return true;
        if (!before) reject(uid, pod, why);
        return false;
      },
    };
  }

  function reject(uid: string, pod: Pod, why: Rejection): void {
    const at = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
    rejected.set(uid, why);
    log.info('a pod was not taken', { pod: `${pod.metadata.namespace}/${pod.metadata.name}`, ...why });
    options.processes.event?.(pod, 'Warning', why.reason, why.message);
    deps.statuses.touch(uid, () =>
      rejected.has(uid) ? { pod, status: rejectedStatus(pod, why, at) } : undefined,
    );
  }

  function distribute(): void {
    if (!running || !desired) return;
    const wanted = new Map(desired.map((pod) => [pod.metadata.uid ?? '', pod]));
    for (const [uid, worker] of workers) if (!wanted.has(uid)) worker.want(undefined);
    for (const uid of rejected.keys()) if (!wanted.has(uid)) rejected.delete(uid);
    let admission: { isTaken(uid: string, pod: Pod): boolean } | undefined;
    for (const [uid, pod] of wanted) {
      if (isOver(pod) && !workers.has(uid)) continue;
      const isNew = !workers.has(uid) && !runs(pod) && !pod.metadata.deletionTimestamp;
      if (isNew && !(admission ??= admissionOf(wanted)).isTaken(uid, pod)) continue;
      const worker = workers.get(uid) ?? createPodWorker(deps, uid, running);
      workers.set(uid, worker);
      worker.want(pod);
    }
  }

  /** A server that lost its list, or never took it, gets it again. */
  async function keepStandIn(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(5000, signal).catch(() => {});
      if (signal.aborted) return;
      const served = await standIn.status().catch(() => undefined);
      if (!served) continue;
      const uids = new Set(served.map(({ uid }) => uid));
      const wanted = [...workers.values()].filter((worker) => worker.isStandIn());
      if (wanted.length !== uids.size || wanted.some(({ uid }) => !uids.has(uid)))
        void standIn.sync(signal).catch(() => {});
    }
  }

  return {
    reconcile(pods) {
      desired = pods;
      distribute();
    },
    async run(signal) {
      await restore(signal);
      await callbacks.removeOrphans?.(new Set(workers.keys())).catch((error: unknown) => {
        log.warn('cannot remove what nobody owns', { error: errorText(error) });
      });
      running = signal;
      restored.resolve();
      distribute();
      await keepStandIn(signal);
      standIn.close();
      await Promise.all([...workers.values()].map((worker) => worker.settled()));
      await criNode?.close();
    },
    retry() {
      for (const worker of workers.values()) worker.retry();
    },
    restored: () => restored.promise,
    localPods: () => [...workers.values()].map((worker) => worker.local()).filter((one) => one !== undefined),
    onLocalPodsChanged: (listener) => void listeners.push(listener),
    find: (namespace, name) =>
      [...workers.values()].find(({ record }) => record?.namespace === namespace && record.name === name),
    attachments: () => restored.promise.then(() => new Set(workers.keys())),
    standIn,
    folder: records.folder,
    pause: options.processes.program,
    status() {
      const all = [...workers.values()];
      return {
        pods: all.length,
        ready: all.filter((worker) => worker.ready()).length,
        failing: all.flatMap((worker) =>
          worker.error === undefined ? [] : [{ pod: worker.label, error: worker.error }],
        ),
        ...counts,
        statusWrites: deps.statuses.writes,
      };
    },
  };
}

/** It was taken before, perhaps by a node with more room: it is begun again after its node was down. */
const runs = ({ status }: Pod): boolean => status?.phase === 'Running';

const hasEnded = ({ status }: Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

/** Ended by itself, and nothing of it is here. */
const isOver = (pod: Pod): boolean => hasEnded(pod) && !pod.metadata.deletionTimestamp;

/** At most `size` pieces of work at once, first come first served. */
function createSlots(size: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = size;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => queue.push(resolve));
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next) next();
      else free++;
    }
  };
}
