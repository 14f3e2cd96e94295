/** One container's life: started, watched, started again as its policy says, stopped. */
import type { Pod } from '../../api/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import { ConfigError } from './environment.ts';
import type { Held, Pause } from './pause.ts';
import { hasEnded, isRestarted, RESET_MS, restartDelay, type Role } from './restart.ts';
import type { Container, ContainerFacts, ContainerState, Say, SavedContainer, Terminated } from './types.ts';

export interface ContainerDeps {
  pod(): Pod;
  container: Container;
  role: Role;
  saved: SavedContainer;
  /** What the API server was told of the run that an earlier agent left: it goes on from there. */
  before: { ready: boolean; started: boolean } | undefined;
  /** The pod's holder; a new one if the last is gone. */
  pause(signal: AbortSignal): Promise<Pause>;
  /** Asks the holder to start attempt `id`. @throws ConfigError while something it needs is missing */
  launch(pause: Pause, id: string, attempt: number, signal: AbortSignal): Promise<void>;
  /** What the program left as its last word. */
  lastWords(code: number, attempt: number): Promise<string>;
  /** What asks it to end. */
  stopSignal(): Promise<number>;
  /** Ends what it left behind among other containers' processes. */
  sweep(): void;
  /** True when the kernel took its memory back from it. */
  ranOutOfMemory(): boolean;
  /** Probes and the hook after the start, until the attempt ends. */
  watch(attempt: Attempt, signal: AbortSignal): Promise<void>;
  /** Milliseconds that it has to end, and what is run before; resolves within it. */
  beforeStop(pid: number, graceMs: number): Promise<void>;
  save(): Promise<void>;
  changed(): void;
  say: Say;
  clock: Clock;
}

/** One run of the program. */
export interface Attempt {
  pid: number;
  startedAt: number;
  /** It is past its startup probe already. */
  started: boolean;
  set(state: { ready?: boolean; started?: boolean }): void;
  /** Ends this run; what comes after is a matter of the policy. */
  kill(reason: string, graceSeconds?: number): void;
}

export interface ContainerLife {
  facts(): ContainerFacts;
  /** Resolves when it is over for good: its last end. Rejects when `signal` aborts. */
  run(signal: AbortSignal): Promise<Terminated>;
  /** Resolves when it has started once, for a sidecar. */
  started: Promise<void>;
  /** No new start from now on; hook, TERM, and KILL when `graceMs` are over. */
  stop(graceMs: number): Promise<void>;
  /** False until the holder was asked what became of the run that an earlier agent left. */
  isKnown(): boolean;
  /** Of the program's first process; undefined while it does not run. */
  pid(): number | undefined;
}

const TERM = 15;
const KILL = 9;
const iso = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
/** Milliseconds from TERM to KILL, however long the hook before took: a kubelet's least. */
const LAST_CHANCE_MS = 2000;
/** Milliseconds between looks for what is missing. */
const RETRY_MS = 2000;

export function createContainer(deps: ContainerDeps): ContainerLife {
  const { container, role, saved, clock, say } = deps;
  const started = Promise.withResolvers<void>();
  started.promise.catch(() => {});
  const stopping = new AbortController();
  let waiting = {
    reason: role === 'main' || role === 'ephemeral' ? 'ContainerCreating' : 'PodInitializing',
    message: '',
  };
  let running: { pid: number; startedAt: number; pause: Pause; hooked?: boolean } | undefined;
  let flags = deps.before ?? { ready: false, started: false };
  let ending: Promise<void> | undefined;
  let known = deps.before === undefined;

  const idOf = (attempt: number) => `${container.name}.${attempt}`;
  const containerId = () => `heddle://${deps.pod().metadata.uid}/${idOf(saved.attempt)}`;

  function set(to: Partial<typeof flags>): void {
    const next = { ...flags, ...to };
    if (next.ready === flags.ready && next.started === flags.started) return;
    flags = next;
    if (flags.started) started.resolve();
    deps.changed();
  }

  function wait(reason: string, message: string): void {
    if (waiting.reason === reason && waiting.message === message) return;
    waiting = { reason, message };
    deps.changed();
  }

  /** Starts it, as soon as what it needs is there; an attempt that the holder knows goes on. */
  async function begin(signal: AbortSignal): Promise<{ pause: Pause; held: Held; fresh: boolean }> {
    for (;;) {
      const pause = await deps.pause(signal);
      const id = idOf(saved.attempt);
      try {
        const fresh = !pause.get(id);
        if (fresh) {
          known = true;
          flags = { ready: false, started: false };
          await deps.launch(pause, id, saved.attempt, signal);
          say('Normal', 'Created', `Created container: ${container.name}`);
        }
        return { pause, held: await pause.begun(id, signal), fresh };
      } catch (error) {
        if (signal.aborted) throw error;
        known = true;
        const reason = error instanceof ConfigError ? error.reason : 'CreateContainerError';
        if (waiting.message !== errorText(error)) tellFailure(reason, errorText(error));
        wait(reason, errorText(error));
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  /** What is wrong with the image by a kubelet's name for it, too: InspectFailed, ErrImageNeverPull. */
  function tellFailure(reason: string, words: string): void {
    if (reason === 'InvalidImageName') say('Warning', 'InspectFailed', words);
    else if (reason === 'ErrImageNeverPull') say('Warning', reason, words);
    say('Warning', 'Failed', `Error: ${words}`);
  }

  /** From start to end of one attempt. */
  async function attempt(beginning: AbortSignal, signal: AbortSignal): Promise<Terminated> {
    const { pause, held, fresh } = await begin(beginning);
    if (held.state === 'running') {
      if (fresh) say('Normal', 'Started', `Started container ${container.name}`);
      await runUntilEnd(pause, held, signal);
    }
    const id = idOf(saved.attempt);
    const end = pause.get(id);
    running = undefined;
    known = true;
    flags = { ready: false, started: false };
    return end?.state === 'ended' ? terminated(end) : lost(held);
  }

  async function runUntilEnd(
    pause: Pause,
    held: Held & { state: 'running' },
    signal: AbortSignal,
  ): Promise<void> {
    const { pid, startedAt } = held;
    running = { pid, startedAt, pause };
    known = true;
    if (flags.started) started.resolve();
    deps.changed();
    const over = new AbortController();
    const watched = deps
      .watch({ pid, startedAt, started: flags.started, set, kill }, AbortSignal.any([over.signal, signal]))
      .catch(() => {});
    try {
      await pause.ended(idOf(saved.attempt), signal);
    } catch (error) {
      // A holder that is gone takes its containers along: that is an end, too.
      if (signal.aborted) throw error;
    } finally {
      over.abort(new Error('the container has ended'));
      await watched;
    }
  }

  async function terminated(end: Held & { state: 'ended' }): Promise<Terminated> {
    const common = {
      exitCode: end.code,
      startedAt: iso(end.startedAt),
      finishedAt: iso(end.finishedAt),
      containerID: containerId(),
    };
    if (!end.reached) return { ...common, exitCode: 128, reason: 'StartError', message: end.words };
    const reason = deps.ranOutOfMemory() ? 'OOMKilled' : end.code === 0 ? 'Completed' : 'Error';
    const message = await deps.lastWords(end.code, saved.attempt);
    return { ...common, reason, ...(message === '' ? {} : { message }) };
  }

  const lost = (held: Held): Terminated => ({
    exitCode: 137,
    reason: 'ContainerStatusUnknown',
    message: 'the pod’s holder was killed, and the container with it',
    startedAt: iso(held.startedAt),
    finishedAt: iso(clock.now()),
    containerID: containerId(),
  });

  async function noteEnd(end: Terminated): Promise<void> {
    const ranMs = Date.parse(end.finishedAt ?? '') - Date.parse(end.startedAt ?? '');
    if (saved.ended) saved.endedBefore = saved.ended;
    saved.ended = end;
    saved.failures = ranMs >= RESET_MS ? 1 : saved.failures + 1;
    const again = !stopping.signal.aborted && isRestarted(deps.pod(), role, end.exitCode);
    saved.over = !again;
    if (role === 'ephemeral') deps.sweep();
    await deps.save();
    deps.changed();
  }

  /** Until its next start is due. */
  async function backOff(end: Terminated, signal: AbortSignal): Promise<void> {
    const delay = restartDelay(saved.failures);
    const due = Date.parse(end.finishedAt ?? '') + delay;
    if (clock.now() < due) {
      const { name, namespace, uid } = deps.pod().metadata;
      const words = `back-off ${duration(delay)} restarting failed container=${container.name} pod=${name}_${namespace}(${uid})`;
      say(
        'Warning',
        'BackOff',
        `Back-off restarting failed container ${container.name} in pod ${name}_${namespace}(${uid})`,
      );
      wait('CrashLoopBackOff', words);
      await clock.sleep(due - clock.now(), signal);
    }
  }

  function kill(reason: string, graceSeconds?: number): void {
    say('Normal', 'Killing', `Container ${container.name} ${reason}`);
    const grace = graceSeconds ?? deps.pod().spec?.terminationGracePeriodSeconds ?? 30;
    ending ??= end(grace * 1000).finally(() => (ending = undefined));
  }

  /** Hook, TERM, and KILL when the time is over. */
  async function end(graceMs: number): Promise<void> {
    const now = running;
    if (!now) return;
    const id = idOf(saved.attempt);
    const deadline = clock.monotonic() + graceMs;
    set({ ready: false });
    if (graceMs > 0 && !now.hooked) {
      now.hooked = true;
      await deps.beforeStop(now.pid, graceMs).catch(() => {});
    }
    now.pause.kill(id, await deps.stopSignal().catch(() => TERM));
    const gone = new AbortController();
    const left = graceMs > 0 ? Math.max(LAST_CHANCE_MS, deadline - clock.monotonic()) : 0;
    void clock.sleep(left, gone.signal).then(
      () => now.pause.kill(id, KILL),
      () => {},
    );
    // A program that cannot even be killed is left to the removal of the cgroup.
    await now.pause.ended(id, AbortSignal.timeout(Math.ceil(left) + 10_000)).catch(() => {});
    gone.abort();
  }

  function state(): ContainerState {
    if (running) return { running: { startedAt: iso(running.startedAt) } };
    if (saved.over && saved.ended) return { terminated: saved.ended };
    return { waiting: { reason: waiting.reason, ...(waiting.message ? { message: waiting.message } : {}) } };
  }

  return {
    started: started.promise,
    facts: () => {
      const last = saved.over ? saved.endedBefore : saved.ended;
      return {
        state: state(),
        lastState: last ? { terminated: last } : {},
        ready: role === 'init' ? saved.over === true && saved.ended?.exitCode === 0 : flags.ready,
        started: flags.started,
        restarts: saved.restarts,
        over: saved.over === true,
      };
    },
    async run(outer) {
      const signal = AbortSignal.any([outer, stopping.signal]);
      try {
        while (!saved.over) {
          // Its last attempt has ended, and the next one has not begun.
          if (saved.ended && hasEnded(container.name, saved)) {
            await backOff(saved.ended, signal);
            saved.attempt++;
            saved.restarts++;
            await deps.save();
          }
          if (signal.aborted) break;
          // The end of an attempt that is being stopped is still to be noted.
          await noteEnd(await attempt(signal, outer));
        }
      } catch (error) {
        started.reject(error);
        if (!stopping.signal.aborted || outer.aborted) throw error;
      }
      started.resolve();
      return saved.ended ?? lost({ state: 'running', pid: 0, startedAt: clock.now() });
    },
    async stop(graceMs) {
      if (running && !stopping.signal.aborted)
        say('Normal', 'Killing', `Stopping container ${container.name}`);
      stopping.abort(new Error('the pod is to go'));
      await ending;
      await end(graceMs);
    },
    isKnown: () => known,
    pid: () => running?.pid,
  };
}

const duration = (ms: number): string => {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
};
