/** What holds a pod of a container runtime: the runtime itself, seen as the holder of a pod of processes is. */
import { rename, stat } from 'node:fs/promises';
import { type Cri, isNotFound } from '../../cri/client.ts';
import {
  type Container,
  type ContainerConfig,
  ContainerState,
  type ContainerStatus,
} from '../../cri/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import { unlessAborted } from '../../lib/signals.ts';
import { ConfigError } from '../process/environment.ts';
import { logPaths } from '../logs.ts';
import type { Held, Pause, StartRequest } from '../process/pause.ts';
import { type ContainerInfo, parseInfo } from './info.ts';
import { loadSandbox } from './sandbox-file.ts';
import type { ContainerWatch, Look } from './watch.ts';

export interface CriPauseDeps {
  uid: string;
  /** The pod's own folder. */
  folder: string;
  cri: Cri;
  watch: ContainerWatch;
  /** What `start` makes of the attempt `id`; made before. */
  prepared(id: string): ContainerConfig;
  /** Its sandbox has died, or somebody else has removed it. Told once. */
  sandboxLost(): void;
  clock: Clock;
}

export interface CriPause extends Pause {
  start(request: StartRequest): Promise<void>;
  /** Of the runtime; undefined before it is made. */
  containerId(id: string): string | undefined;
  /** Of the attempt's end. */
  outOfMemory(id: string): boolean;
  imageRef(id: string): string;
}

/** The container was made and does not start. */
class RunError extends ConfigError {
  override readonly reason = 'RunContainerError';
}

interface Known {
  id: string;
  held?: Held;
  info?: ContainerInfo;
  status?: ContainerStatus;
  /** By the monotonic clock. */
  since: number;
}

const KILL = 9;
/** Seconds that a container has that was asked to end: whoever asked kills it before. */
const PATIENCE = 86_400;
const RETRY_MS = 1000;
/** Bytes of a log before it is turned: a kubelet's. */
const MAX_LOG = 10 << 20;

/** Resolves when the runtime has told what it has of the pod. Rejects when `signal` aborts. */
export async function openCriPause(deps: CriPauseDeps, signal: AbortSignal): Promise<CriPause> {
  const { cri, watch, clock } = deps;
  const known = new Map<string, Known>();
  const waiters = new Set<() => void>();
  const closed = new AbortController();
  const stops = new Map<string, AbortController>();
  let working: Promise<unknown> = Promise.resolve();

  const wake = () => {
    for (const waiter of waiters) waiter();
  };

  /** One after the other: an older answer never comes after a newer one. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = working.then(work, work);
    working = done.catch(() => {});
    return done;
  }

  async function learn(id: string, containerId: string): Promise<void> {
    const { status, info } = await cri.containerStatus(containerId);
    const held = heldOf(status, parseInfo(info));
    const now: Known = { id: containerId, status, info: parseInfo(info), since: clock.monotonic() };
    known.set(id, held ? { ...now, held } : now);
    if (held?.state === 'ended') stops.get(id)?.abort();
    wake();
  }

  const openedAt = clock.monotonic();
  const sandbox = loadSandbox(deps.folder)?.id;
  let lost = false;

  async function take({ containers, sandboxes, askedAt }: Look): Promise<void> {
    if (!lost && askedAt > openedAt && sandbox !== undefined && !sandboxes.includes(sandbox)) {
      lost = true;
      deps.sandboxLost();
    }
    for (const one of containers) {
      const id = idOf(one);
      const before = known.get(id);
      if (before?.held?.state === 'ended') continue;
      if (!before || before.id !== one.id || before.status?.state !== one.state)
        await learn(id, one.id).catch(() => {});
    }
    const there = new Set(containers.map(({ id }) => id));
    for (const [id, one] of known)
      if (one.held?.state === 'running' && !there.has(one.id) && one.since < askedAt) vanish(id, one);
    await Promise.all([...known.values()].map(turnLog));
    wake();
  }

  /** Somebody else has removed it. */
  function vanish(id: string, one: Known): void {
    const { startedAt } = one.held!;
    known.set(id, {
      ...one,
      held: { state: 'ended', code: 137, startedAt, finishedAt: clock.now(), reached: true, words: '' },
    });
    stops.get(id)?.abort();
  }

  async function turnLog({ id, held, status }: Known): Promise<void> {
    const path = status?.logPath ?? '';
    if (held?.state !== 'running' || path === '') return;
    const found = await stat(path).catch(() => undefined);
    if (found && found.size <= MAX_LOG) return;
    // Without one the runtime writes in the file that was turned: it was asked before, and could not.
    if (found)
      for (const one of logPaths(path).toReversed().slice(1))
        await rename(one, olderName(path, one)).catch(() => {});
    await cri.reopenContainerLog(id).catch(() => {});
  }

  async function stop(id: string, seconds: number, until: AbortSignal): Promise<void> {
    while (!until.aborted) {
      const one = known.get(id);
      if (!one || one.held?.state === 'ended') return;
      try {
        await cri.stopContainer(one.id, seconds, until);
        await inTurn(() => learn(id, one.id));
        return;
      } catch (error) {
        if (isNotFound(error)) return;
        await clock.sleep(RETRY_MS, until).catch(() => {});
      }
    }
  }

  function until<T>(look: () => T | undefined, over: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        waiters.delete(check);
        over.removeEventListener('abort', check);
      };
      const check = () => {
        const found = look();
        if (found === undefined && !over.aborted && !closed.signal.aborted) return;
        done();
        if (found !== undefined) resolve(found);
        else reject((over.aborted ? over.reason : closed.signal.reason) as Error);
      };
      waiters.add(check);
      over.addEventListener('abort', check, { once: true });
      check();
    });
  }

  /** What an earlier agent made and did not start, or started for the same attempt, would stand in the way. */
  async function removeStale(id: string): Promise<void> {
    const stale = known.get(id);
    if (stale) await cri.removeContainer(stale.id);
    known.delete(id);
  }

  async function start({ id }: StartRequest): Promise<void> {
    await removeStale(id);
    const saved = loadSandbox(deps.folder);
    if (saved?.id === undefined) throw new ConfigError('the pod has no sandbox');
    const containerId = await cri.createContainer(saved.id, deps.prepared(id), saved.config);
    known.set(id, { id: containerId, since: clock.monotonic() });
    const failure = await cri.startContainer(containerId).then(
      () => undefined,
      (error: unknown) => error,
    );
    await learn(id, containerId);
    if (failure && !known.get(id)?.held) throw new RunError(errorText(failure), { cause: failure });
  }

  const first = Promise.withResolvers<void>();
  const unwatch = watch.onLook(deps.uid, (look) => {
    void inTurn(() => take(look)).then(() => first.resolve());
  });
  void watch.look().catch(() => {});
  try {
    await unlessAborted(first.promise, signal);
  } catch (error) {
    unwatch();
    throw error;
  }

  return {
    get: (id) => known.get(id)?.held,
    start: (request) => inTurn(() => start(request)),
    kill(id, number) {
      const over = stops.get(id) ?? new AbortController();
      stops.set(id, over);
      void stop(id, number === KILL ? 0 : PATIENCE, AbortSignal.any([over.signal, closed.signal]));
    },
    forget(id) {
      const one = known.get(id);
      known.delete(id);
      stops.delete(id);
      if (one) void cri.removeContainer(one.id).catch(() => {});
    },
    begun: (id, over) => until(() => known.get(id)?.held, over),
    ended: (id, over) =>
      until(() => {
        const held = known.get(id)?.held;
        return held?.state === 'ended' ? held : undefined;
      }, over),
    lost: closed.signal,
    close() {
      unwatch();
      closed.abort(new Error('nobody waits for it any more'));
    },
    containerId: (id) => known.get(id)?.id,
    outOfMemory: (id) => known.get(id)?.status?.reason === 'OOMKilled',
    imageRef: (id) => known.get(id)?.status?.imageRef ?? '',
  };
}

/** One older, as readers of logs know them: see logs.ts. */
function olderName(path: string, one: string): string {
  const all = logPaths(path);
  return all[all.indexOf(one) + 1] ?? one;
}

const idOf = ({ metadata }: Container): string => `${metadata?.name}.${metadata?.attempt}`;

/** Undefined while it is not started. */
function heldOf(status: ContainerStatus, info: ContainerInfo): Held | undefined {
  const { state, startedAt, finishedAt, exitCode, reason, message } = status;
  if (state === ContainerState.running) return { state: 'running', pid: info.pid, startedAt };
  if (state !== ContainerState.exited) return undefined;
  const reached = startedAt > 0 && reason !== 'StartError';
  return {
    state: 'ended',
    code: exitCode,
    startedAt: startedAt > 0 ? startedAt : finishedAt,
    finishedAt,
    reached,
    words: message,
  };
}
