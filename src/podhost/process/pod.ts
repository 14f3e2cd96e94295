/** A pod of processes: init containers in order, sidecars beside them, then all the others; and back. */
import type { Pod } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { RuntimeStatus } from '../status.ts';
import { type ContainerLife, createContainer } from './container.ts';
import type { PodMachinery } from './machinery.ts';
import { loggedAttempt, roleOf } from './restart.ts';
import { type Saved, createStateWriter } from './state-file.ts';
import { runtimeStatus } from './status.ts';
import type { Container, ContainerFacts } from './types.ts';
import { endOf, untilEnd } from './whole-pod.ts';

export interface ProcessPod {
  /** Until everything has ended for good, or `signal`: the processes go on then. */
  run(signal: AbortSignal): Promise<void>;
  /** Hooks, TERM, and KILL when `graceMs` are over; sidecars after the others. */
  stop(graceMs: number): Promise<void>;
  /** Whether its containers are to run again in another sandbox when this one is lost, as its policy says. */
  beginsAnew(): boolean;
  /** After `stop`: those that had not ended for good before, and the init containers, begin again. */
  saveForAnother(): Promise<void>;
  /** Starts what was added to the pod since. */
  update(): void;
  /** Undefined while it is not known yet what became of what an earlier agent left. */
  status(pod: Pod): RuntimeStatus | undefined;
  /** Of the container's first process; undefined while it does not run. */
  pid(container: string): number | undefined;
  /** Attempt that runs or ran last; undefined for a container that the pod does not have. */
  attempt(container: string): number | undefined;
  /** The attempt whose log there is to read. */
  logged(container: string): number | undefined;
}

export interface ProcessPodDeps {
  pod(): Pod;
  machinery: PodMachinery;
  /** The pod's own folder. */
  folder: string;
  /** When the pod came to this node, milliseconds since 1970. */
  startTime: number;
  clock: Clock;
  /** Why a container that was added is not run. */
  ephemeralProblem(pod: Pod, container: Container): string | undefined;
  saved: Saved;
  adopted: boolean;
  changed(): void;
}

/** Milliseconds that what an earlier agent left is looked for before it is ended. */
const FIND_MS = 5000;
/** Milliseconds that an evicted pod has to end. */
const EVICTION_MS = 1000;

export function createProcessPod(deps: ProcessPodDeps): ProcessPod {
  const { machinery, saved, ephemeralProblem } = deps;
  const save = createStateWriter(deps.folder, () => saved);
  const spec = deps.pod().spec;
  const inits = spec?.initContainers ?? [];
  const mains = spec?.containers ?? [];
  const lives = new Map<string, ContainerLife>();
  const done: Promise<unknown>[] = [];
  /** Those added later that were begun. */
  const begun = new Set<string>();
  let initFailed = false;
  let over = false;
  /** The pod was ended as a whole. */
  let ended = endOf(deps.pod());
  /** Those that had not ended for good when the sandbox was lost. */
  let open: Container[] = [];
  /** Of a pod that runs. */
  let life: AbortSignal | undefined;
  for (const container of [...inits, ...mains]) lives.set(container.name, makeLife(container));
  // What an earlier agent has begun.
  for (const container of added()) if (saved[container.name]) lives.set(container.name, makeLife(container));

  /** For looking into the pod. */
  function added(): Container[] {
    return deps.pod().spec?.ephemeralContainers ?? [];
  }

  function update(): void {
    if (!life || life.aborted || over || ended || machinery.stopping()) return;
    for (const container of added()) {
      if (begun.has(container.name) || ephemeralProblem(deps.pod(), container)) continue;
      begun.add(container.name);
      if (!lives.has(container.name)) lives.set(container.name, makeLife(container));
      void begin(lifeOf(container), life);
    }
    deps.changed();
  }

  function makeLife(container: Container): ContainerLife {
    const own = (saved[container.name] ??= { attempt: 0, restarts: 0, failures: 0 });
    const told = [
      ...(deps.pod().status?.containerStatuses ?? []),
      ...(deps.pod().status?.initContainerStatuses ?? []),
      ...(deps.pod().status?.ephemeralContainerStatuses ?? []),
    ].find(({ name }) => name === container.name);
    return createContainer({
      ...machinery.containerDeps(container, () => {
        const { targetContainerName } = container as { targetContainerName?: string };
        return lives.get(targetContainerName ?? '')?.pid();
      }),
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

  /** What an earlier agent left can be asked to end once it is found. */
  async function untilKnown(ms: number): Promise<void> {
    const end = deps.clock.monotonic() + ms;
    const isKnown = () => [...lives.values()].every((life) => life.isKnown());
    while (!isKnown() && deps.clock.monotonic() < end) await deps.clock.sleep(20);
  }

  async function stop(total: number): Promise<void> {
    await untilKnown(Math.min(total, FIND_MS));
    machinery.stop();
    const deadline = performance.now() + total;
    await stopAll([...mains, ...added().filter(({ name }) => lives.has(name))], total);
    // TERM at least, before KILL.
    await stopSidecars(Math.max(total > 0 ? 1 : 0, deadline - performance.now()));
    await Promise.allSettled(done);
    deps.changed();
  }

  /** Its deadline, its volumes. */
  async function watchWhole(signal: AbortSignal): Promise<void> {
    const { pod, startTime, clock } = deps;
    const end = await untilEnd({ pod, startTime, folders: machinery.disk, clock }, signal);
    if (machinery.stopping()) return;
    ended = end;
    machinery.say(end.reason === 'Evicted' ? 'Warning' : 'Normal', end.reason, end.message);
    await stop(end.reason === 'Evicted' ? EVICTION_MS : graceMs());
    machinery.kill();
    if (end.reason === 'Evicted') await machinery.giveRoom();
  }

  const graceMs = () => (deps.pod().spec?.terminationGracePeriodSeconds ?? 30) * 1000;

  return {
    async run(signal) {
      let stopRenewing = () => {};
      const finished = new AbortController();
      if (ended) {
        machinery.kill();
        return ended.reason === 'Evicted' ? machinery.giveRoom() : undefined;
      }
      watchWhole(AbortSignal.any([signal, finished.signal])).catch(() => {});
      try {
        await machinery.prepare(signal);
        stopRenewing = machinery.renewVolumes(signal);
        initFailed = !(await initialise(signal));
        if (!initFailed) {
          const all = mains.map((container) => begin(lifeOf(container), signal));
          life = signal;
          update();
          await Promise.all(all);
        }
        over = true;
        await stopAll(
          added().filter(({ name }) => lives.has(name)),
          graceMs(),
        );
        await stopSidecars(graceMs());
        await Promise.all(done);
        deps.changed();
      } catch (error) {
        if (!signal.aborted && !machinery.stopping()) machinery.say('Warning', 'Failed', errorText(error));
      } finally {
        stopRenewing();
        finished.abort();
        if (signal.aborted) machinery.letGo();
      }
    },
    beginsAnew() {
      if (open.length > 0) return true;
      if (ended || over || (deps.pod().spec?.restartPolicy === 'Never' && hasBegun())) return false;
      open = mains.filter(({ name }) => !saved[name]?.over);
      return open.length > 0;
    },
    saveForAnother() {
      for (const { name } of [...inits, ...open])
        if (saved[name]?.over) saved[name] = { ...saved[name], over: false, failures: 0 };
      return save();
    },
    stop,
    update,
    status: (pod) =>
      [...lives.values()].every((life) => life.isKnown())
        ? runtimeStatus(pod, {
            containers: facts(),
            initFailed: initFailed && over,
            ended,
            unenforced: machinery.unenforced(),
            imageId: machinery.imageId,
            ephemeralProblem: (container) => ephemeralProblem(pod, container),
          })
        : undefined,
    pid: (name) => lives.get(name)?.pid(),
    attempt: (name) => saved[name]?.attempt,
    logged(name) {
      const own = saved[name];
      return own && loggedAttempt(name, own, lives.get(name)?.pid() !== undefined);
    },
  };

  function hasBegun(): boolean {
    return [...lives].some(([name, life]) => saved[name]?.ended || life.pid() !== undefined);
  }

  function facts(): Map<string, ContainerFacts> {
    return new Map([...lives].map(([name, life]) => [name, life.facts()]));
  }
}
