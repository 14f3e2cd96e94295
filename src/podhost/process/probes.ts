/** The probes of one run of a container, as a kubelet does them. */
import type { Clock } from '../../lib/clock.ts';
import { ticks } from '../health/ticks.ts';
import { type Probe, probePort } from '../ports.ts';
import type { Attempt } from './container.ts';
import type { Container, Say } from './types.ts';

export interface ProbeDeps {
  container: Container;
  attempt: Attempt;
  /** Undefined when it passed, else what was wrong. `port` 0: it names none. */
  check(probe: Probe, port: number, timeoutMs: number): Promise<string | undefined>;
  say: Say;
  clock: Clock;
}

type Kind = 'Startup' | 'Readiness' | 'Liveness';

const seconds = (value: number | undefined, fallback: number): number => (value || fallback) * 1000;

/** Until `signal`, which ends with the run. */
export async function watchProbes(deps: ProbeDeps, signal: AbortSignal): Promise<void> {
  const { container, attempt } = deps;
  const { startupProbe, readinessProbe, livenessProbe } = container;
  if (startupProbe && !attempt.started && !(await startUp(deps, startupProbe, signal))) return;
  attempt.set({ started: true, ...(readinessProbe ? {} : { ready: true }) });
  await Promise.all([
    readinessProbe &&
      repeat(deps, 'Readiness', readinessProbe, signal, (passes) => {
        attempt.set({ ready: passes });
        return true;
      }),
    livenessProbe &&
      repeat(deps, 'Liveness', livenessProbe, signal, (passes) => {
        if (!passes) fail(deps, livenessProbe, 'liveness');
        return passes;
      }),
  ]);
}

async function startUp(deps: ProbeDeps, probe: Probe, signal: AbortSignal): Promise<boolean> {
  let up = false;
  await repeat(deps, 'Startup', probe, signal, (passes) => {
    up = passes;
    if (!passes) fail(deps, probe, 'startup');
    return false;
  });
  return up;
}

function fail({ attempt }: ProbeDeps, probe: Probe, kind: string): void {
  attempt.kill(`failed ${kind} probe, will be restarted`, probe.terminationGracePeriodSeconds);
}

/** Calls `onVerdict` when a threshold is reached, until it returns false. */
async function repeat(
  deps: ProbeDeps,
  kind: Kind,
  probe: Probe,
  signal: AbortSignal,
  onVerdict: (passes: boolean) => boolean,
): Promise<void> {
  const { clock, say } = deps;
  const port = probe.exec ? 0 : (probePort(deps.container, probe) ?? 0);
  let last: boolean | undefined;
  await clock.sleep((probe.initialDelaySeconds ?? 0) * 1000, signal);
  const next = ticks(clock, seconds(probe.periodSeconds, 10));
  for (let count = 0; ; ) {
    const problem = await deps.check(probe, port, seconds(probe.timeoutSeconds, 1));
    signal.throwIfAborted();
    const passes = problem === undefined;
    count = passes === last ? count + 1 : 1;
    last = passes;
    if (!passes) say('Warning', 'Unhealthy', `${kind} probe failed: ${problem}`);
    const needed = passes ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (count >= needed && !onVerdict(passes)) return;
    await clock.sleep(next(), signal);
  }
}
