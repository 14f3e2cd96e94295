/** Keeps a set of processes running: starts them, restarts what ends, says how they fare. */
import type { ChildProcess } from '../kernel/spawn.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { createRestartPolicy, type RestartPolicy } from './restart-policy.ts';

export interface ProcessSpec {
  readonly name: string;
  /** Starts it once. */
  spawn(): ChildProcess;
}

export type ProcessState = 'running' | 'restarting' | 'quarantined';

export interface ProcessStatus {
  readonly name: string;
  readonly state: ProcessState;
  readonly pid: number | undefined;
  /** Milliseconds since it was started last. */
  readonly uptime: number | undefined;
  readonly restarts: number;
  readonly lastExit:
    | { readonly code: number | null; readonly signal: string | null; readonly at: string }
    | undefined;
}

export interface Processes {
  start(spec: ProcessSpec): void;
  list(): ProcessStatus[];
  /** From now on nothing is restarted. Kills nothing. */
  abandon(): void;
}

interface Entry {
  readonly spec: ProcessSpec;
  readonly policy: RestartPolicy;
  child: ChildProcess | undefined;
  startedAt: number | undefined;
  state: ProcessState;
  restarts: number;
  lastExit: ProcessStatus['lastExit'];
}

export interface ProcessesDeps {
  readonly clock: Clock;
  readonly log: Log;
}

export function createProcesses({ clock, log }: ProcessesDeps): Processes {
  const entries = new Map<string, Entry>();
  const stop = new AbortController();

  function launch(entry: Entry): void {
    const { name } = entry.spec;
    let child: ChildProcess;
    try {
      child = entry.spec.spawn();
    } catch (error) {
      log.error('cannot start', { process: name, error: errorText(error) });
      onEnd(entry, null, null);
      return;
    }
    entry.child = child;
    entry.startedAt = clock.monotonic();
    entry.state = 'running';
    let ended = false;
    const end = (code: number | null, signal: string | null) => {
      if (ended) return;
      ended = true;
      onEnd(entry, code, signal);
    };
    child.once('error', (error) => {
      log.error('cannot start', { process: name, error: errorText(error) });
      end(null, null);
    });
    child.once('exit', end);
    log.info('started', { process: name, pid: child.pid });
  }

  function onEnd(entry: Entry, code: number | null, signal: string | null): void {
    if (stop.signal.aborted) return;
    const { delay, quarantined } = entry.policy.onExit(clock.monotonic());
    entry.child = undefined;
    entry.startedAt = undefined;
    entry.state = quarantined ? 'quarantined' : 'restarting';
    entry.lastExit = { code, signal, at: new Date(clock.now()).toISOString() };
    log.warn('ended', { process: entry.spec.name, code, signal, restartInMs: delay, quarantined });
    clock.sleep(delay, stop.signal).then(
      () => {
        entry.restarts++;
        launch(entry);
      },
      () => {},
    );
  }

  return {
    start(spec) {
      const entry: Entry = {
        spec,
        policy: createRestartPolicy(),
        child: undefined,
        startedAt: undefined,
        state: 'restarting',
        restarts: 0,
        lastExit: undefined,
      };
      entries.set(spec.name, entry);
      launch(entry);
    },
    list: () =>
      [...entries.values()].map((entry) => ({
        name: entry.spec.name,
        state: entry.state,
        pid: entry.child?.pid,
        uptime: entry.startedAt === undefined ? undefined : clock.monotonic() - entry.startedAt,
        restarts: entry.restarts,
        lastExit: entry.lastExit,
      })),
    abandon: () => stop.abort(new Error('the cluster is going down')),
  };
}
