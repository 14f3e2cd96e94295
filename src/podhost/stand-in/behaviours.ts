/** The behaviours of all pods of a server: what is under way, how much of it may be, and rounds of calls that pods begin. */
import type { IncomingHttpHeaders } from 'node:http';
import { behave, type BehaveDeps, callAll, type Outcome } from './behave.ts';
import type { CallTarget } from './behaviour.ts';
import { keepPace } from './pace.ts';
import type { CallReport, StandInPod } from './types.ts';

export interface BehavioursDeps {
  /** Never rejects. */
  call(
    pod: StandInPod,
    target: CallTarget,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<CallReport>;
  onCall(pod: StandInPod, report: CallReport): void;
  random?: () => number;
  /** Milliseconds, never going back. */
  now?: () => number;
}

export interface Behaviours {
  /** Undefined: the pod answers at once. `asker` aborts when nobody waits for the answer any more, or the pod goes. */
  onRequest(
    pod: StandInPod,
    headers: IncomingHttpHeaders,
    asker: AbortController,
  ): Promise<Outcome> | undefined;
  /** The pod is there, or is another than before: its own rounds follow. */
  apply(pod: StandInPod): void;
  /** Calls that were not made: their time had passed, or as many were under way as there may be. */
  missed(uid: string): number;
  /** The pod goes: so does what it waits for. */
  drop(uid: string): void;
}

/** Calls under way: of a pod, of all of them. Each needs up to five descriptors. */
const MOST_OF_POD = 100;
const MOST_OF_NODE = 1000;

/** Kept only of pods that do something. */
interface Active {
  pod: StandInPod;
  calls: number;
  askers: Set<AbortController>;
  missed: number;
  rate: number | undefined;
  /** Ends the rounds that it begins by itself. */
  endRounds: (() => void) | undefined;
}

export function createBehaviours(deps: BehavioursDeps): Behaviours {
  const { random = Math.random, now = () => performance.now() } = deps;
  const active = new Map<string, Active>();
  let calls = 0;

  function entryOf(pod: StandInPod): Active {
    const found = active.get(pod.uid);
    if (found) return found;
    const entry: Active = {
      pod,
      calls: 0,
      askers: new Set(),
      missed: 0,
      rate: undefined,
      endRounds: undefined,
    };
    active.set(pod.uid, entry);
    return entry;
  }

  const isFull = (entry: Active) => entry.calls >= MOST_OF_POD || calls >= MOST_OF_NODE;

  const depsOf = (entry: Active): BehaveDeps => ({
    call: (target, headers, signal) => deps.call(entry.pod, target, headers, signal),
    admit() {
      if (isFull(entry)) {
        entry.missed++;
        return undefined;
      }
      entry.calls++;
      calls++;
      return () => {
        entry.calls--;
        calls--;
      };
    },
    onCall: (report) => deps.onCall(entry.pod, report),
    random,
    sleep,
  });

  async function during<T>(entry: Active, asker: AbortController, work: Promise<T>): Promise<T> {
    entry.askers.add(asker);
    try {
      return await work;
    } finally {
      entry.askers.delete(asker);
    }
  }

  /** One that finds no room for a single call is not begun. */
  function round(entry: Active): void {
    const { behaviour } = entry.pod;
    if (!behaviour) return;
    if (isFull(entry)) return miss(entry, 1);
    const asker = new AbortController();
    void during(entry, asker, callAll(behaviour, {}, asker.signal, depsOf(entry)));
  }

  function miss(entry: Active, rounds: number): void {
    entry.missed += rounds * (entry.pod.behaviour?.calls?.length ?? 0);
  }

  /** The first one after a part of the time between two, so that pods made together do not call together. */
  const begin = (entry: Active, rate: number): (() => void) =>
    keepPace({
      rate,
      phase: random(),
      now,
      once: () => round(entry),
      onMissed: (rounds) => miss(entry, rounds),
    });

  return {
    onRequest(pod, headers, asker) {
      const { behaviour } = pod;
      if (!behaviour?.latency && !behaviour?.error && !behaviour?.calls) return undefined;
      const entry = entryOf(pod);
      return during(entry, asker, behave(behaviour, headers, asker.signal, depsOf(entry)));
    },
    apply(pod) {
      if (!pod.behaviour && !active.has(pod.uid)) return;
      const entry = entryOf(pod);
      entry.pod = pod;
      const rate = pod.draining ? undefined : pod.behaviour?.rate;
      if (rate === entry.rate) return;
      entry.rate = rate;
      entry.endRounds?.();
      entry.endRounds = rate === undefined ? undefined : begin(entry, rate);
    },
    missed: (uid) => active.get(uid)?.missed ?? 0,
    drop(uid) {
      const entry = active.get(uid);
      if (!entry) return;
      active.delete(uid);
      entry.endRounds?.();
      for (const asker of entry.askers) asker.abort(new Error('ECANCELED the pod goes'));
    },
  };
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
