/** The metrics of requests and of the store, under the names that dashboards for Kubernetes know. */
import type { Clock } from '../lib/clock.ts';
import type { Counter, Gauge, Metrics } from '../lib/metrics.ts';
import type { Store } from '../store/types.ts';
import type { ServiceAddresses } from './allocate.ts';
import type { RequestInfo, ResourceInfo } from './request-info.ts';

export interface Instruments {
  /** Called when a request comes; the result when it is answered. */
  start(): (info: RequestInfo | undefined, code: number) => void;
  long<T>(info: ResourceInfo, work: () => Promise<T>): Promise<T>;
  /** A connection that has become a session of exec, attach or port-forward. */
  session(info: ResourceInfo, transport: 'WebSocket' | 'SPDY', socket: CountedSocket): void;
  /** The node, or the pod, did not do what a session (by its kind) asked for. */
  failed(kind: string): void;
  /** A request for one that was refused. */
  refused(info: ResourceInfo | undefined, code: number): void;
}

export interface CountedSocket {
  readonly closed: boolean;
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  once(event: 'close', listener: () => void): unknown;
}

export interface InstrumentDeps {
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly store: Store;
  readonly addresses: ServiceAddresses;
}

export function createInstruments({ metrics, clock, store, addresses }: InstrumentDeps): Instruments {
  const total = metrics.counter('apiserver_request_total', 'Requests answered, by verb, resource and code.');
  const seconds = metrics.histogram(
    'apiserver_request_duration_seconds',
    'Time to answer; watches are left out.',
  );
  const running = metrics.gauge('apiserver_longrunning_requests', 'Watches, logs and sessions under way.');
  const failures = metrics.counter(
    'heddle_streaming_failures_total',
    'Commands and connections of sessions that the node refused or lost.',
  );
  const storeGauges: Record<string, [help: string, read: () => number]> = {
    heddle_store_revision: ['Last committed revision.', () => store.revision()],
    heddle_store_compacted_revision: [
      'Oldest revision a watch can resume from.',
      () => store.stats().compacted,
    ],
    heddle_store_keys: ['Keys held.', () => store.stats().keys],
    heddle_store_events: ['Events remembered.', () => store.stats().events],
    heddle_store_watchers: ['Watchers of the store.', () => store.stats().watchers],
    heddle_store_pending_writes: ['Writes not yet on disk.', () => store.stats().pending],
    heddle_store_commits: ['Groups written since the start.', () => store.stats().commits],
    heddle_store_writes: ['Writes acknowledged since the start.', () => store.stats().writes],
    heddle_store_conflicts: [
      'Writes refused by compare-and-swap since the start.',
      () => store.stats().conflicts,
    ],
    heddle_store_failures: ['Writes that failed since the start.', () => store.stats().failures],
    heddle_service_addresses_allocated: ['Cluster IPs given out.', () => addresses.counts().addresses],
    heddle_service_node_ports_allocated: ['Node ports given out.', () => addresses.counts().nodePorts],
  };
  const gauges = Object.entries(storeGauges).map(
    ([name, [help, read]]) => [metrics.gauge(name, help), read] as const,
  );
  metrics.onCollect(() => {
    for (const [gauge, read] of gauges) gauge.set(read());
  });
  return {
    start() {
      const began = clock.monotonic();
      return (info, code) => {
        const about = info?.resource;
        const labels = { verb: (about?.verb ?? info?.method ?? '').toUpperCase(), resource: known(about) };
        total.inc({ ...labels, code: String(code) });
        if (about?.verb !== 'watch') seconds.observe((clock.monotonic() - began) / 1000, labels);
      };
    },
    async long(info, work) {
      const labels = { verb: info.verb.toUpperCase(), ...partOf(info) };
      running.add(1, labels);
      try {
        return await work();
      } finally {
        running.add(-1, labels);
      }
    },
    session: createSessions(metrics, total, running),
    failed: (kind) => failures.inc({ kind }),
    refused: (info, code) => total.inc({ verb: 'CONNECT', resource: known(info), code: String(code) }),
  };
}

const partOf = (info: ResourceInfo) => ({
  resource: known(info),
  ...(info.subresource === '' ? {} : { subresource: info.subresource }),
});

function createSessions(metrics: Metrics, total: Counter, running: Gauge): Instruments['session'] {
  const sessions = metrics.counter(
    'heddle_streaming_sessions_total',
    'Sessions of exec, attach and port-forward that began.',
  );
  /** By kind; what is open is counted anew at each look. */
  const past = new Map<string, { received: number; sent: number }>();
  const open = new Map<CountedSocket, string>();
  const bytes = ({ bytesRead = 0, bytesWritten = 0 }: CountedSocket) => ({
    received: bytesRead,
    sent: bytesWritten,
  });
  metrics.sampled('counter', 'heddle_streaming_bytes_total', 'Bytes on connections of sessions.', () => {
    const sums = new Map([...past].map(([kind, sum]) => [kind, { ...sum }]));
    for (const [socket, kind] of open) addTo(sums, kind, bytes(socket));
    return [...sums].flatMap(([kind, { received, sent }]) => [
      { labels: { kind, direction: 'received' }, value: received },
      { labels: { kind, direction: 'sent' }, value: sent },
    ]);
  });
  return (info, transport, socket) => {
    const kind = info.subresource;
    const labels = { verb: 'CONNECT', ...partOf(info) };
    total.inc({ verb: 'CONNECT', resource: known(info), code: '101' });
    sessions.inc({ kind, transport });
    if (socket.closed) return;
    running.add(1, labels);
    open.set(socket, kind);
    socket.once('close', () => {
      running.add(-1, labels);
      open.delete(socket);
      addTo(past, kind, bytes(socket));
    });
  };
}

function addTo(
  sums: Map<string, { received: number; sent: number }>,
  kind: string,
  more: { received: number; sent: number },
): void {
  const { received, sent } = sums.get(kind) ?? { received: 0, sent: 0 };
  sums.set(kind, { received: received + more.received, sent: sent + more.sent });
}

/** Names that clients make up must not become labels without end. */
const known = (info: ResourceInfo | undefined): string =>
  info && /^[a-z]{1,40}$/.test(info.resource) ? info.resource : '';
