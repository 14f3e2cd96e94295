/** What the data path of a node counts, for `GET /metrics`. Names of the field where it has them. */
import type { Backend, Counter, Pressure } from '../../datapath/backend.ts';
import { NO_RULE } from '../../datapath/plan/pairs.ts';
import { type PlanState, TABLE_NAMES } from '../../datapath/plan/tables.ts';
import { unfold } from '../../datapath/plan/unfold.ts';
import type { Metrics, Sample } from '../../lib/metrics.ts';
import type { RuleInfo } from '../../policy/tables.ts';
import type { DatapathOutcome } from './datapath.ts';

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
  readonly errors: number;
  readonly dropped: number;
}

/** As the pod sees it: `received` came to the pod. */
export interface PodTraffic {
  readonly namespace: string;
  readonly name: string;
  /** In the pod: `eth0`. */
  readonly interface: string;
  readonly received: Traffic;
  readonly transmitted: Traffic;
}

export interface DatapathMetricsDeps {
  readonly backend: Pick<Backend, 'name' | 'counters' | 'pressure' | 'maps' | 'drops' | 'ruleCount'>;
  state(): PlanState;
  rule(number: number): RuleInfo | undefined;
  podTraffic(): Promise<readonly PodTraffic[]>;
  /** The kernel's own table of connections; undefined where it has none. */
  kernelTracking(): Pressure | undefined;
}

export interface DatapathMetrics {
  record(outcome: DatapathOutcome): void;
  /** Reads what cannot be read at once. Before each scrape; what cannot be read is as it was. */
  refresh(): Promise<void>;
}

/** Seconds: from a tenth of the millisecond that one change may take, to a cold start. */
const BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
];

export function exposeDatapath(metrics: Metrics, deps: DatapathMetricsDeps): DatapathMetrics {
  const pods = exposePods(metrics, deps);
  exposeTables(metrics, deps);
  const rules = exposeRules(metrics, deps);
  const durations = metrics.histogram(
    'heddle_datapath_apply_duration_seconds',
    'How long the backend took for what it was given.',
    BUCKETS,
  );
  const delays = metrics.histogram(
    'heddle_datapath_change_delay_seconds',
    'From hearing of a change to the kernel having it.',
    BUCKETS,
  );
  const changes = metrics.counter('heddle_datapath_changes_total', 'Entries programmed, by table.');
  const mended = metrics.counter('heddle_datapath_mended_total', 'Differences to the plan found and mended.');
  const failures = metrics.counter('heddle_datapath_failures_total', 'Times that programming failed.');
  failures.inc({}, 0);
  return {
    record(outcome) {
      if (outcome.step === 'failed') return failures.inc();
      const { step, ms } = outcome;
      durations.observe(ms / 1000, { step, backend: deps.backend.name });
      if (step === 'apply') {
        delays.observe(outcome.sinceHeard / 1000, { backend: deps.backend.name });
        for (const { table } of outcome.changes) changes.inc({ table });
      } else for (const { kind } of outcome.differences) mended.inc({ kind });
    },
    refresh: async () => void (await Promise.all([pods.refresh(), rules.refresh()])),
  };
}

function exposePods(metrics: Metrics, deps: DatapathMetricsDeps): { refresh(): Promise<void> } {
  let read: readonly PodTraffic[] = [];
  const expose = (name: string, words: string, pick: (pod: PodTraffic) => number) =>
    metrics.sampled('counter', name, words, () =>
      read.map((pod) => ({
        labels: { namespace: pod.namespace, pod: pod.name, interface: pod.interface },
        value: pick(pod),
      })),
    );
  expose('container_network_receive_bytes_total', 'Bytes that came to pods.', (pod) => pod.received.bytes);
  expose(
    'container_network_receive_packets_total',
    'Packets that came to pods.',
    (pod) => pod.received.packets,
  );
  expose(
    'container_network_receive_errors_total',
    'Errors in receiving at pods.',
    (pod) => pod.received.errors,
  );
  expose(
    'container_network_receive_packets_dropped_total',
    'Packets to pods dropped at their links.',
    (pod) => pod.received.dropped,
  );
  expose('container_network_transmit_bytes_total', 'Bytes that pods sent.', (pod) => pod.transmitted.bytes);
  expose(
    'container_network_transmit_packets_total',
    'Packets that pods sent.',
    (pod) => pod.transmitted.packets,
  );
  expose(
    'container_network_transmit_errors_total',
    'Errors in sending at pods.',
    (pod) => pod.transmitted.errors,
  );
  expose(
    'container_network_transmit_packets_dropped_total',
    'Packets of pods dropped at their links.',
    (pod) => pod.transmitted.dropped,
  );
  return {
    async refresh() {
      read = await deps.podTraffic();
    },
  };
}

function exposeTables(metrics: Metrics, { backend, state, kernelTracking }: DatapathMetricsDeps): void {
  metrics.sampled('gauge', 'heddle_datapath_info', 'Which backend programs the kernel.', () => [
    { labels: { backend: backend.name }, value: 1 },
  ]);
  metrics.sampled('gauge', 'heddle_datapath_entries', 'Entries of the plan, by table.', () =>
    TABLE_NAMES.map((table) => ({ labels: { table }, value: state()[table].size })),
  );
  metrics.sampled('gauge', 'iptables_rules_total', 'Rules in iptables, by table.', () =>
    [...(backend.ruleCount?.() ?? [])].map(([table, value]) => ({ labels: { table }, value })),
  );
  const full = (): Pressure[] => {
    const kernel = kernelTracking();
    return [...(backend.pressure?.() ?? []), ...(kernel ? [kernel] : [])];
  };
  const expose = (name: string, words: string, pick: (one: Pressure) => number | undefined) =>
    metrics.sampled('gauge', name, words, () =>
      full().flatMap((one): Sample[] => {
        const value = pick(one);
        return value === undefined ? [] : [{ labels: { map: one.name }, value }];
      }),
    );
  expose('heddle_datapath_map_entries', 'Entries in the kernel, by map.', ({ entries }) => entries);
  expose('heddle_datapath_map_max_entries', 'How many fit, by map.', ({ max }) => max);
  expose('heddle_datapath_map_pressure', 'Part of a map that is full, 0 to 1.', ({ entries, max }) =>
    max ? entries / max : undefined,
  );
  metrics.sampled('gauge', 'heddle_datapath_map_bytes', 'Memory that a table of fixed size takes.', () =>
    (backend.maps?.() ?? []).map(({ name, bytes }) => ({ labels: { map: name }, value: bytes })),
  );
  metrics.sampled('gauge', 'heddle_datapath_flow_entries', 'Connections that are tracked.', () => [
    {
      value: full()
        .filter(({ name }) => name.startsWith('flows') || name === KERNEL_TRACKING)
        .reduce((sum, { entries }) => sum + entries, 0),
    },
  ]);
}

export const KERNEL_TRACKING = 'nf_conntrack';

function exposeRules(metrics: Metrics, deps: DatapathMetricsDeps): { refresh(): Promise<void> } {
  let counters: ReadonlyMap<number, Counter> = new Map();
  const sums = () => {
    const found = new Map<
      string,
      { labels: { verdict: string; direction: string }; packets: number; bytes: number }
    >();
    for (const [number, { packets, bytes }] of counters) {
      const info = deps.rule(number);
      if (!info) continue;
      const { verdict, direction } = info;
      const sum = found.get(`${verdict} ${direction}`) ?? {
        labels: { verdict, direction },
        packets: 0,
        bytes: 0,
      };
      sum.packets += packets;
      sum.bytes += bytes;
      found.set(`${verdict} ${direction}`, sum);
    }
    return [...found.values()];
  };
  metrics.sampled(
    'counter',
    'heddle_datapath_policy_packets_total',
    'Packets that policy rules decided.',
    () => sums().map(({ labels, packets }) => ({ labels, value: packets })),
  );
  metrics.sampled('counter', 'heddle_datapath_policy_bytes_total', 'Bytes that policy rules decided.', () =>
    sums().map(({ labels, bytes }) => ({ labels, value: bytes })),
  );
  metrics.sampled('counter', 'heddle_datapath_drops_total', 'Packets dropped, by reason.', () => {
    const denied = sums().filter(({ labels }) => labels.verdict === 'deny');
    const policy = {
      labels: { reason: 'policy' },
      value: denied.reduce((sum, { packets }) => sum + packets, 0),
    };
    const others = [...(deps.backend.drops?.() ?? [])].filter(([reason]) => reason !== 'policy');
    return [policy, ...others.map(([reason, { packets }]) => ({ labels: { reason }, value: packets }))];
  });
  exposeAudit(metrics, () => auditSums(counters, deps.rule));
  return {
    async refresh() {
      // Between two backends there is a moment in which nobody can be asked.
      counters = await deps.backend.counters().catch(() => counters);
    },
  };
}

interface AuditSum extends Counter {
  readonly labels: {
    readonly direction: string;
    readonly verdict: string;
    readonly audit: string;
    readonly rule: string;
  };
}

/** By what would decide, whatever decides now. As many as audited policies have rules, and a few. */
function auditSums(counters: ReadonlyMap<number, Counter>, rule: DatapathMetricsDeps['rule']): AuditSum[] {
  const sums = new Map<string, AuditSum>();
  for (const { direction, verdict, audit, packets, bytes } of unfold(counters, rule).audited) {
    const text = audit.rule === 0 ? NO_RULE : (rule(audit.rule)?.text ?? `rule ${audit.rule.toString(16)}`);
    const key = `${verdict} ${audit.verdict} ${text}`;
    const sum = sums.get(key);
    sums.set(key, {
      labels: { direction, verdict, audit: audit.verdict, rule: text },
      packets: packets + (sum?.packets ?? 0),
      bytes: bytes + (sum?.bytes ?? 0),
    });
  }
  return [...sums.values()];
}

function exposeAudit(metrics: Metrics, sums: () => readonly AuditSum[]): void {
  metrics.sampled(
    'counter',
    'heddle_policy_audit_packets_total',
    'Packets that another rule would decide if audited policies were enforced, by that rule.',
    () => sums().map(({ labels, packets }) => ({ labels: { ...labels }, value: packets })),
  );
  metrics.sampled(
    'counter',
    'heddle_policy_audit_bytes_total',
    'Bytes that another rule would decide if audited policies were enforced, by that rule.',
    () => sums().map(({ labels, bytes }) => ({ labels: { ...labels }, value: bytes })),
  );
}
