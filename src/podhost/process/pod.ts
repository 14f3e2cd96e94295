/** A pod of processes: init containers in order, sidecars beside them, then all the others; and back. */
import type { Pod } from '../../api/types.ts';
import { errorText } from '../../lib/errors.ts';
import type { RuntimeStatus } from '../status.ts';
import { type ContainerLife, createContainer } from './container.ts';
import type { PodMachinery } from './machinery.ts';
import { roleOf } from './restart.ts';
import { type Saved, createStateWriter } from './state-file.ts';
import { runtimeStatus } from './status.ts';
import type { Container, ContainerFacts } from './types.ts';

export interface ProcessPod {
  /** Until everything has ended for good, or `signal`: the processes go on then. */
  run(signal: AbortSignal): Promise<void>;
  /** Hooks, TERM, and KILL when `graceMs` are over; sidecars after the others. */
  stop(graceMs: number): Promise<void>;
  /** Undefined while it is not known yet what became of what an earlier agent left. */
  status(pod: Pod): RuntimeStatus | undefined;
  /** Of the container's first process; undefined while it does not run. */
  pid(container: string): number | undefined;
  /** Attempt that runs or ran last; undefined for a container that the pod does not have. */
  attempt(container: string): number | undefined;
}

export interface ProcessPodDeps {
  pod(): Pod;
  machinery: PodMachinery;
  /** The pod's own folder. */
  folder: string;
  saved: Saved;
  adopted: boolean;
  changed(): void;
}

export function createProcessPod(deps: ProcessPodDeps): ProcessPod {
  const { machinery, saved } = deps;
  const save = createStateWriter(deps.folder, () => saved);
  const spec = deps.pod().spec;
  const inits = spec?.initContainers ?? [];
  const mains = spec?.containers ?? [];
  const lives = new Map<string, ContainerLife>();
  const done: Promise<unknown>[] = [];
  let initFailed = false;
  let over = false;
  for (const container of [...inits, ...mains]) lives.set(container.name, makeLife(container));

  function makeLife(container: Container): ContainerLife {
    const own = (saved[container.name] ??= { attempt: 0, restarts: 0, failures: 0 });
    const told = [
      ...(deps.pod().status?.containerStatuses ?? []),
      ...(deps.pod().status?.initContainerStatuses ?? []),
    ].find(({ name }) => name === container.name);
    return createContainer({
      ...machinery.containerDeps(container),
      role: roleOf(deps.pod(), container),
      saved: own,
      before:
        deps.adopted && told?.state?.running && told.restartCount === own.restarts
          ? { ready: told.ready, started: told.started ?? false }
          : undefined,
      save,
      changed: deps.changed,
    });
  }

  const lifeOf = ({ name }: Container): ContainerLife => lives.get(name)!;

  /** Rejections are the end of a run that is given up: whoever gave it up knows. */
  function begin(life: ContainerLife, signal: AbortSignal): Promise<unknown> {
    const run = life.run(signal);
    run.catch(() => {});
    done.push(run);
    return run;
  }

  /** False when one of them failed for good. */
  async function initialise(signal: AbortSignal): Promise<boolean> {
    for (const container of inits) {
      const life = lifeOf(container);
      if (roleOf(deps.pod(), container) === 'sidecar') {
        void begin(life, signal);
        await life.started;
      } else {
        const end = await life.run(signal);
        if (end.exitCode !== 0) return false;
      }
    }
    return true;
  }

  const stopAll = (list: readonly Container[], graceMs: number) =>
    Promise.all(list.map((container) => lifeOf(container).stop(graceMs)));

  /** In reverse order, as they may need each other. */
  async function stopSidecars(graceMs: number): Promise<void> {
    for (const container of inits.toReversed()) await lifeOf(container).stop(graceMs);
  }

  const graceMs = () => (deps.pod().spec?.terminationGracePeriodSeconds ?? 30) * 1000;

  return {
    async run(signal) {
      let stopRenewing = () => {};
      try {
        await machinery.prepare(signal);
        stopRenewing = machinery.renewVolumes(signal);
        initFailed = !(await initialise(signal));
        if (!initFailed) await Promise.all(mains.map((container) => begin(lifeOf(container), signal)));
        over = true;
        await stopSidecars(graceMs());
        await Promise.all(done);
        deps.changed();
      } catch (error) {
        if (!signal.aborted && !machinery.stopping()) machinery.say('Warning', 'Failed', errorText(error));
      } finally {
        stopRenewing();
        if (signal.aborted) machinery.letGo();
      }
    },
    async stop(total) {
      machinery.stop();
      const deadline = performance.now() + total;
      await stopAll(mains, total);
      await stopSidecars(Math.max(0, deadline - performance.now()));
      await Promise.allSettled(done);
      deps.changed();
    },
    status: (pod) =>
      [...lives.values()].every((life) => life.isKnown())
        ? runtimeStatus(pod, {
            containers: facts(),
            initFailed: initFailed && over,
            unenforced: machinery.unenforced(),
            imageId: machinery.imageId,
          })
        : undefined,
    pid: (name) => lives.get(name)?.pid(),
    attempt: (name) => saved[name]?.attempt,
  };

  function facts(): Map<string, ContainerFacts> {
    return new Map([...lives].map(([name, life]) => [name, life.facts()]));
  }
}
