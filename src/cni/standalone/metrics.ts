/** A standalone agent's metrics (docs/metrics.md). */
import type { Nft } from '../../kernel/nft.ts';
import { isObject } from '../../lib/json.ts';
import { createMetrics, type Metrics } from '../../lib/metrics.ts';
import type { AnswerCount, StandaloneStatus } from './status.ts';
import { TABLE } from './table.ts';

export interface AgentMetrics {
  readonly metrics: Metrics;
  /** Of one answer; `code` 0, or that of the error. */
  answered(command: string, code: number, ms: number): void;
  answers(): AnswerCount[];
}

export function createAgentMetrics(status: () => StandaloneStatus, nft: Nft): AgentMetrics {
  const metrics = createMetrics();
  const counts = new Map<string, AnswerCount>();
  metrics.sampled('counter', 'heddle_cni_answers_total', 'Answers to CNI calls.', () =>
    [...counts.values()].map(({ command, code, count }) => ({
      labels: { command, code: String(code) },
      value: count,
    })),
  );
  const durations = metrics.histogram(
    'heddle_cni_answer_duration_seconds',
    'From a CNI call having come in to its answer.',
  );
  metrics.sampled('gauge', 'heddle_cni_uptime_seconds', 'Since the agent serves.', () => [
    { value: status().uptimeSeconds },
  ]);
  metrics.sampled('gauge', 'heddle_cni_attachments', 'Interfaces of containers in the books.', () =>
    [...Map.groupBy(status().attachments, ({ network, kind }) => JSON.stringify({ network, kind }))].map(
      ([labels, all]) => ({ labels: JSON.parse(labels) as Record<string, string>, value: all.length }),
    ),
  );
  metrics.sampled('gauge', 'heddle_cni_host_ports', 'Ports of the machine that lead to containers.', () =>
    [
      ...Map.groupBy(
        status().attachments.flatMap(({ hostPorts }) => hostPorts),
        ({ protocol }) => protocol,
      ),
    ].map(([protocol, ports]) => ({ labels: { protocol }, value: ports.length })),
  );
  metrics.sampled('gauge', 'heddle_cni_range_addresses', 'Addresses by what became of them.', () =>
    status().ranges.flatMap(({ cidr, taken, cooling }) => [
      { labels: { range: cidr, state: 'taken' }, value: taken },
      { labels: { range: cidr, state: 'cooling' }, value: cooling },
    ]),
  );
  metrics.sampled('gauge', 'heddle_cni_range_size', 'Addresses that containers can have.', () =>
    status().ranges.map(({ cidr, size }) => ({ labels: { range: cidr }, value: size })),
  );
  metrics.sampled('counter', 'heddle_cni_foreign_packets_total', 'Packets dropped for their sender.', () => {
    const value = foreignPackets(nft);
    return value === undefined ? [] : [{ value }];
  });
  return {
    metrics,
    answered(command, code, ms) {
      const key = `${command} ${code}`;
      counts.set(key, { command, code, count: (counts.get(key)?.count ?? 0) + 1 });
      durations.observe(ms / 1000, { command });
    },
    answers: () => [...counts.values()],
  };
}

/** Of the chain that looks at senders; undefined where somebody removed it. */
function foreignPackets(nft: Nft): number | undefined {
  try {
    const listed = nft.json(`list chain ${TABLE} origin`);
    const parts: unknown[] = isObject(listed) && Array.isArray(listed['nftables']) ? listed['nftables'] : [];
    return parts
      .flatMap((part) => (isObject(part) && isObject(part['rule']) ? [part['rule']] : []))
      .flatMap(({ expr }): unknown[] => (Array.isArray(expr) ? expr : []))
      .flatMap((expr) => (isObject(expr) && isObject(expr['counter']) ? [expr['counter']] : []))
      .reduce((sum, { packets }) => sum + Number(packets), 0);
  } catch {
    return undefined;
  }
}
