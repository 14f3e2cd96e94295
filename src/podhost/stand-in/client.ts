/** The agent's side of a stand-in server: keeps telling it the whole list until it has taken it. */
import { createBackoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { unlessAborted } from '../../lib/signals.ts';
import { callSocket } from '../../lib/unix-http.ts';
import type { ProbeResult } from '../probe/connect.ts';
import type { StandInConnect, StandInPod, StandInPodStatus } from './types.ts';

export interface StandInClient {
  /** Resolves when the server has taken a list read from `wanted` after this call. Tries for ever, or until `signal`. */
  sync(signal?: AbortSignal): Promise<StandInPodStatus[]>;
  /** Ends the trying; what still waits is rejected. */
  close(): void;
  status(): Promise<StandInPodStatus[]>;
  /** @throws HeddleError `SocketCall` */
  connect(asked: StandInConnect): Promise<ProbeResult>;
}

export interface StandInClientDeps {
  socketPath: string;
  wanted(): StandInPod[];
  clock: Clock;
  log: Log;
}

export function createStandInClient(deps: StandInClientDeps): StandInClient {
  const { socketPath, clock, log } = deps;
  let waiting: PromiseWithResolvers<StandInPodStatus[]>[] = [];
  let working = false;
  const closed = new AbortController();

  async function put(): Promise<StandInPodStatus[]> {
    const body = { pods: deps.wanted() };
    return (
      await callSocket<{ pods: StandInPodStatus[] }>({ socketPath, method: 'PUT', path: '/pods', body })
    ).pods;
  }

  /** One PUT at a time; those who ask meanwhile share the next. */
  async function work(): Promise<void> {
    working = true;
    const backoff = createBackoff(20, 1000);
    let failures = 0;
    while (waiting.length > 0 && !closed.signal.aborted) {
      const mine = waiting;
      waiting = [];
      try {
        const taken = await put();
        for (const one of mine) one.resolve(taken);
        backoff.reset();
      } catch (error) {
        waiting = [...mine, ...waiting];
        if (failures++ === 5)
          log.warn('the stand-in server does not take the list; trying again', { error: errorText(error) });
        await clock.sleep(backoff.next(), closed.signal).catch(() => {});
      }
    }
    working = false;
    for (const one of waiting) one.reject(closed.signal.reason);
    waiting = [];
  }

  return {
    close: () => closed.abort(new Error('the agent is stopping')),
    sync(signal) {
      const mine = Promise.withResolvers<StandInPodStatus[]>();
      waiting.push(mine);
      const { promise } = mine;
      // Who stopped waiting does not hear of it.
      promise.catch(() => {});
      if (!working) void work();
      return signal ? unlessAborted(promise, signal) : promise;
    },
    status: async () => (await callSocket<{ pods: StandInPodStatus[] }>({ socketPath, path: '/pods' })).pods,
    connect: (asked) =>
      callSocket({
        socketPath,
        method: 'POST',
        path: '/connect',
        body: asked,
        // Four names of a search path, and the connection; then who answers it.
        timeoutMs: (asked.timeoutMs ?? 2000) * 5 + 5000,
      }),
  };
}
