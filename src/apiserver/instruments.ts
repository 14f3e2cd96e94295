/** The metrics of requests and of the store, under the names that dashboards for Kubernetes know. */
import type { Clock } from '../lib/clock.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Store } from '../store/types.ts';
import type { ServiceAddresses } from './allocate.ts';
import type { RequestInfo, ResourceInfo } from './request-info.ts';

export interface Instruments {
  /** Called when a request comes; the result when it is answered. */
  start(): (info: RequestInfo | undefined, code: number) => void;
  long<T>(info: ResourceInfo, work: () => Promise<T>): Promise<T>;
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
  const running = metrics.gauge('apiserver_longrunning_requests', 'Watches under way.');
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
      const labels = { verb: 'WATCH', resource: known(info) };
      running.add(1, labels);
      try {
        return await work();
      } finally {
        running.add(-1, labels);
      }
    },
  };
}

/** Names that clients make up must not become labels without end. */
const known = (info: ResourceInfo | undefined): string =>
  info && /^[a-z]{1,40}$/.test(info.resource) ? info.resource : '';
