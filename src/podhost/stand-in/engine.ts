/** The stand-in application for all pods of a node: holds the wanted list, opens sockets, logs requests. */
import type { Log } from '../../lib/log.ts';
import { type AccessLog, createAccessLog } from './access-log.ts';
import { type Behaviours, createBehaviours, type BehavioursDeps } from './behaviours.ts';
import { callLine } from './call-line.ts';
import type { Connection } from './connection.ts';
import { createHttpEcho } from './http-echo.ts';
import { createPodSockets, type PodSocketOpener, type PodSockets } from './pod-sockets.ts';
import { serveTcp } from './tcp-echo.ts';
import type { StandInPod, StandInPodStatus } from './types.ts';

export interface EngineDeps {
  /** Enters the pod's namespace; `identity` changes when another namespace takes the path. Throws when absent. */
  enter(netns: string): { open: PodSocketOpener; identity: string; close(): void };
  call: BehavioursDeps['call'];
  log: Log;
  now(): Date;
  /** Connections of all pods together. Default 12,000. */
  maxConnections?: number;
}

export interface Engine {
  apply(pods: readonly StandInPod[]): void;
  /** Tries again to open what could not be opened. */
  retry(): void;
  get(uid: string): StandInPod | undefined;
  status(): StandInPodStatus[];
  close(): Promise<void>;
}

interface Served {
  pod: StandInPod;
  log: AccessLog;
  requests: number;
  /** Absent while the namespace cannot be entered. */
  sockets: PodSockets | undefined;
  identity: string;
  error: string;
  release(): void;
}

export function createEngine(deps: EngineDeps): Engine {
  const { maxConnections = 12_000 } = deps;
  const served = new Map<string, Served>();
  const behaviours: Behaviours = createBehaviours({
    call: deps.call,
    onCall: (pod, report) =>
      served.get(pod.uid)?.log.write(`${deps.now().toISOString()} ${callLine(report)}`),
  });
  const http = createHttpEcho({
    draining: ({ pod }) => served.get(pod.uid)?.pod.draining === true,
    behave({ pod }, headers, asker) {
      // The pod as it is asked for now: the connection may be older.
      const now = served.get(pod.uid)?.pod;
      return now && behaviours.onRequest(now, headers, asker);
    },
    onRequest(connection, { protocol, method, path, status, bytes, probe }) {
      if (probe && status < 400) return;
      record(connection, `${protocol} ${method} ${path} ${status} ${bytes}B`);
    },
  });

  function record(connection: Connection, what: string): void {
    const entry = served.get(connection.pod.uid);
    if (!entry) return;
    entry.requests++;
    const { peer, local } = connection;
    entry.log.write(`${deps.now().toISOString()} ${peer.address} ${peer.port} -> ${local.port} ${what}`);
  }

  const connections = () => {
    let sum = 0;
    for (const { sockets } of served.values()) sum += sockets?.connections ?? 0;
    return sum;
  };

  function add(pod: StandInPod): Served {
    const log = createAccessLog({
      path: pod.log,
      onError: (error) => deps.log.warn('cannot write a pod log', { path: pod.log, error: String(error) }),
    });
    const entry: Served = {
      pod,
      log,
      requests: 0,
      sockets: undefined,
      identity: '',
      error: '',
      release() {},
    };
    served.set(pod.uid, entry);
    log.write(`${deps.now().toISOString()} stand-in for ${pod.namespace}/${pod.name} starts on ${pod.node}`);
    return entry;
  }

  function shut(entry: Served): void {
    behaviours.drop(entry.pod.uid);
    entry.sockets?.close();
    entry.release();
    entry.sockets = undefined;
    entry.identity = '';
  }

  function ensure(entry: Served): void {
    const { pod } = entry;
    try {
      const inside = deps.enter(pod.netns);
      if (entry.identity === inside.identity) inside.close();
      else {
        shut(entry);
        entry.identity = inside.identity;
        entry.release = () => inside.close();
        entry.sockets = createPodSockets({
          pod,
          open: inside.open,
          onTcp: (socket, connection) =>
            serveTcp(socket, connection, { http, onRaw: (one) => record(one, 'TCP echo') }),
          onUdp: (connection, bytes) => record(connection, `UDP echo ${bytes}B`),
          admit: () => connections() <= maxConnections,
        });
      }
      entry.sockets!.apply(pod.tcp, pod.udp);
      behaviours.apply(pod);
      entry.error = '';
    } catch (error) {
      shut(entry);
      entry.error = error instanceof Error ? error.message : String(error);
    }
  }

  const errorsOf = (entry: Served): StandInPodStatus['errors'] =>
    entry.sockets?.errors() ?? [{ port: 0, protocol: 'TCP', error: entry.error }];

  return {
    apply(pods) {
      const wanted = new Map(pods.map((pod) => [pod.uid, pod]));
      for (const [uid, entry] of served) {
        if (wanted.has(uid)) continue;
        shut(entry);
        served.delete(uid);
        void entry.log.close();
      }
      for (const pod of wanted.values()) {
        const entry = served.get(pod.uid) ?? add(pod);
        entry.pod = pod;
        ensure(entry);
      }
    },
    retry() {
      for (const entry of served.values()) if (errorsOf(entry).length > 0) ensure(entry);
    },
    get: (uid) => served.get(uid)?.pod,
    status: () =>
      [...served.values()].map((entry) => ({
        uid: entry.pod.uid,
        namespace: entry.pod.namespace,
        name: entry.pod.name,
        serving: errorsOf(entry).length === 0,
        errors: errorsOf(entry),
        connections: entry.sockets?.connections ?? 0,
        requests: entry.requests,
        callsMissed: behaviours.missed(entry.pod.uid),
      })),
    async close() {
      const entries = [...served.values()];
      served.clear();
      for (const entry of entries) shut(entry);
      await Promise.all(entries.map(({ log }) => log.close()));
    },
  };
}
