/** Round trips between two zones, against what was asked of the link between them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callSocket } from '../src/lib/unix-http.ts';
import { openCluster } from './cluster.ts';
import { type Benchmark, type Contender, spread } from './harness.ts';
import { createCleanup } from './services.ts';

/** Milliseconds, one way. */
const LATENCY = 20;
/** As many as an agent measures at a time. */
const ROUND_TRIPS = 100;

const FILE = `apiVersion: heddle.dev/v1alpha1
kind: Cluster
metadata: { name: bench }
spec:
  nodes: [{ name: a1, zone: a }, { name: b1, zone: b }]
  links: [{ between: [a, b], latency: ${LATENCY}ms }]
`;

const share = (sorted: readonly number[], q: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;

export async function benchmark(): Promise<Benchmark> {
  const cleanup = createCleanup();
  try {
    const folder = mkdtempSync(join(tmpdir(), `heddle-bench-${process.pid}-`));
    cleanup.after(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'cluster.yaml');
    writeFileSync(file, FILE);
    const { paths } = await openCluster(cleanup, 2, '-f', file);
    let sorted: number[] = [];
    const { agentSocket } = paths.node('a1');
    const ours: Contender = {
      name: `${ROUND_TRIPS} round trips over ${LATENCY} ms one way, median`,
      async measure() {
        const path = `/paths?node=b1&round-trips=${ROUND_TRIPS}`;
        const { roundTrips } = await callSocket<{ roundTrips: number[] }>({ socketPath: agentSocket, path });
        sorted = roundTrips.toSorted((a, b) => a - b);
        return spread('', sorted).median;
      },
    };
    // Of the round that `ours` measured last.
    const peer = (name: string, figure: () => number): Contender => ({
      name,
      measure: () => Promise.resolve(figure()),
    });
    return {
      name: 'topology-latency',
      unit: 'ms',
      larger: false,
      ours,
      peers: [
        peer('of the same, 95th percentile', () => share(sorted, 0.95)),
        peer('of the same, the fastest', () => sorted[0] ?? Number.NaN),
        peer('what was asked', () => 2 * LATENCY),
      ],
      close: () => cleanup.run(),
    };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}
