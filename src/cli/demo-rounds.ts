/** Rounds of the demo: the first as a table, later ones as a line that stays current. */

import type { Client } from '../client/types.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import type { ClusterPaths } from '../cluster/paths.ts';
import { type Report, report, summary } from '../demo/report.ts';
import { type Round, round } from '../demo/run.ts';
import { coloured, matrix, plain, table } from '../demo/table.ts';
import { systemClock } from '../lib/clock.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import type { Progress } from './progress.ts';
import type { UpFlags } from './up-request.ts';

export interface DemoFlags
  extends Pick<UpFlags, 'dataDir' | 'file' | 'nodes' | 'apiPort' | 'timeout' | 'datapath'> {
  once?: boolean;
  output?: string;
  maxAttempts: string;
  beforeProbes?: string;
}

export interface RoundsDeps {
  readonly paths: ClusterPaths;
  readonly config: ClusterConfig;
  readonly progress: Progress;
  readonly deps: CliDeps;
  readonly signal: AbortSignal;
}

/** Milliseconds between rounds while the demo stays up. */
const PAUSE = 10_000;

async function oneRound(flags: DemoFlags, { paths, config, progress, signal }: RoundsDeps): Promise<Round> {
  const client: Client = await connect(paths);
  try {
    return await round({
      client,
      agentSocket: (node) => paths.node(node).agentSocket,
      clusterDomain: config.clusterDomain,
      nodeLocal: config.dnsAddresses,
      clusterRanges: [...config.podCidrs, ...config.serviceCidrs, ...config.underlayCidrs],
      signal,
      maxAttempts: Number(flags.maxAttempts),
      onProgress: (done, total) => progress.detail(`${done} of ${total} connections`),
    });
  } finally {
    client.close();
  }
}

/** Probes, prints all of it, and names what is not as the policies say. */
export async function showRound(flags: DemoFlags, rounds: RoundsDeps): Promise<Report> {
  const { progress, deps } = rounds;
  progress.step('traffic between all workloads');
  const result = await oneRound(flags, rounds);
  progress.done();
  const told = report(result);
  if (flags.output === 'json') deps.stdout.write(`${JSON.stringify(told)}\n`);
  else {
    const paint = deps.color ? coloured : plain;
    deps.stdout.write(`${table(result.judgements, paint)}\n\n${matrix(result.judgements)}\n\n`);
  }
  progress.note(summary(told));
  nameMismatches(told, progress);
  return told;
}

function nameMismatches({ attempts }: Report, progress: Progress): void {
  for (const { from, to, host, port, protocol, family, problems } of attempts)
    if (problems.length > 0)
      progress.note(
        `  ${from} → ${to} (${host}:${port}/${protocol} over IPv${family}): ${problems.join('; ')}`,
      );
}

/** Until the signal aborts: a round every ten seconds, a line that says how the newest one went. */
export async function repeat(flags: DemoFlags, rounds: RoundsDeps): Promise<void> {
  const { progress, signal } = rounds;
  progress.note('The cluster stays up and is probed every ten seconds; Ctrl-C takes it down.');
  progress.step('live');
  for (let n = 2; !signal.aborted; n++) {
    await systemClock.sleep(PAUSE, signal).catch(() => {});
    if (signal.aborted) return;
    const told = report(await oneRound(flags, { ...rounds, progress: { ...progress, detail: () => {} } }));
    const time = new Date(systemClock.now()).toISOString().slice(11, 19);
    progress.detail(`round ${n} at ${time} UTC, ${summary(told)}`);
    if (told.mismatches > 0) nameMismatches(told, progress);
  }
}
