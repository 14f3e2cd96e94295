/**
 * The probes of one pod over time. A stand-in starts in no time, so initialDelaySeconds is passed over, and until
 * a probe has passed once it is tried again within a second, whatever its period.
 */
import type { Pod } from '../../api/types.ts';
import { createBackoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { containersOf, type Probe, probePort, sidecarsOf } from '../ports.ts';
import type { Target } from './check.ts';
import { ticks } from './ticks.ts';

export interface ContainerHealth {
  ready: boolean;
  started: boolean;
  restarts: number;
}

export interface HealthDeps {
  pod: Pod;
  address: string;
  /** Probes go on from what the pod's status says instead of from the beginning. */
  adopted: boolean;
  /** Undefined when it passed. */
  check(probe: Probe, target: Target): Promise<string | undefined>;
  onChange(): void;
  /** Said once per state: what a container's probe ran into. */
  onFailure(container: string, kind: string, problem: string): void;
  clock: Clock;
}

export interface Health {
  containers(): ReadonlyMap<string, ContainerHealth>;
  run(signal: AbortSignal): Promise<void>;
}

type Kind = 'startup' | 'readiness' | 'liveness';

export function createHealth(deps: HealthDeps): Health {
  const all = [...containersOf(deps.pod), ...sidecarsOf(deps.pod)];
  const states = new Map(all.map((container) => [container.name, initialState(deps, container)]));

  function change(state: ContainerHealth, to: Partial<ContainerHealth>): void {
    const before = JSON.stringify(state);
    Object.assign(state, to);
    if (JSON.stringify(state) !== before) deps.onChange();
  }

  /** Resolves when `probe` has passed for the first time, and then goes on in `follow`. */
  async function firstPass(probe: Probe, target: Target, signal: AbortSignal, fail: (why: string) => void) {
    const retry = createBackoff(50, Math.min(1000, seconds(probe.periodSeconds, 10)));
    const needed = probe.successThreshold ?? 1;
    for (let passed = 0; passed < needed; ) {
      const problem = await deps.check(probe, target);
      signal.throwIfAborted();
      passed = problem === undefined ? passed + 1 : 0;
      if (problem !== undefined) fail(problem);
      if (passed < needed) await deps.clock.sleep(retry.next(), signal);
    }
  }

  /** Calls `onFlip` at every change between passing and failing. */
  async function follow(
    probe: Probe,
    target: Target,
    signal: AbortSignal,
    onFlip: (passes: boolean, why: string) => void,
  ) {
    let passes = true;
    const next = ticks(deps.clock, seconds(probe.periodSeconds, 10));
    for (let count = 0; ; ) {
      await deps.clock.sleep(next(), signal);
      const problem = await deps.check(probe, target);
      signal.throwIfAborted();
      count = (problem === undefined) === passes ? 0 : count + 1;
      if (count < (passes ? (probe.failureThreshold ?? 3) : (probe.successThreshold ?? 1))) continue;
      passes = !passes;
      count = 0;
      onFlip(passes, problem ?? '');
    }
  }

  async function runContainer(container: (typeof all)[number], signal: AbortSignal): Promise<void> {
    const state = states.get(container.name)!;
    const { startupProbe, readinessProbe, livenessProbe } = container;
    const told = new Set<string>();
    const failing = (kind: Kind) => (why: string) => {
      if (told.has(kind)) return;
      told.add(kind);
      deps.onFailure(container.name, kind, why);
    };
    const at = (probe: Probe): Target | undefined => {
      const port = probe.exec ? 0 : probePort(container, probe);
      return port === undefined
        ? undefined
        : { address: deps.address, port, timeoutMs: seconds(probe.timeoutSeconds, 1) };
    };
    const begin = async (probe: Probe | undefined, kind: Kind): Promise<Target | undefined> => {
      const target = probe && at(probe);
      if (probe && !target) failing(kind)('the port it names is not declared by the container');
      if (probe && target) await firstPass(probe, target, signal, failing(kind));
      return target;
    };
    if (startupProbe && !state.started) {
      if (!(await begin(startupProbe, 'startup'))) return;
      change(state, { started: true, ready: !readinessProbe });
    }
    const readiness = async () => {
      const target =
        state.ready && readinessProbe ? at(readinessProbe) : await begin(readinessProbe, 'readiness');
      if (!readinessProbe || !target) return;
      change(state, { ready: true });
      await follow(readinessProbe, target, signal, (passes, why) => {
        if (!passes) deps.onFailure(container.name, 'readiness', why);
        change(state, { ready: passes });
      });
    };
    const liveness = async () => {
      const target = livenessProbe && at(livenessProbe);
      if (!livenessProbe || !target) return;
      await follow(livenessProbe, target, signal, (passes, why) => {
        if (passes) return;
        deps.onFailure(container.name, 'liveness', why);
        change(state, { restarts: state.restarts + 1 });
      });
    };
    await Promise.all([readiness(), liveness()]);
  }

  return {
    containers: () => states,
    async run(signal) {
      // Before the first await everybody has its state; an abort is the ordinary end.
      await Promise.all(all.map((container) => runContainer(container, signal))).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    },
  };
}

function initialState(
  { pod, adopted }: HealthDeps,
  container: ReturnType<typeof containersOf>[number],
): ContainerHealth {
  const before = pod.status?.containerStatuses?.find(({ name }) => name === container.name);
  if (adopted && before)
    return { ready: before.ready, started: before.started ?? false, restarts: before.restartCount };
  const { readinessProbe, startupProbe } = container;
  return { ready: !readinessProbe && !startupProbe, started: !startupProbe, restarts: 0 };
}

const seconds = (value: number | undefined, fallback: number): number =>
  Math.max(1, value ?? fallback) * 1000;
