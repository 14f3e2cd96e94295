/** The behaviours of all pods of a server: what is under way, how much of it may be, and rounds of calls that pods begin. */
import type { IncomingHttpHeaders } from 'node:http';
import { behave, type BehaveDeps, callAll, type Outcome } from './behave.ts';
import type { CallTarget } from './behaviour.ts';
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
  rate: number | undefined;
  rounds: NodeJS.Timeout | undefined;
}

export function createBehaviours(deps: BehavioursDeps): Behaviours {
  const { random = Math.random } = deps;
  const active = new Map<string, Active>();
  let calls = 0;

  function entryOf(pod: StandInPod): Active {
    const found = active.get(pod.uid);
    if (found) return found;
    const entry: Active = { pod, calls: 0, askers: new Set(), rate: undefined, rounds: undefined };
    active.set(pod.uid, entry);
    return entry;
  }

  const depsOf = (entry: Active): BehaveDeps => ({
    call: (target, headers, signal) => deps.call(entry.pod, target, headers, signal),
    admit() {
      if (entry.calls >= MOST_OF_POD || calls >= MOST_OF_NODE) return undefined;
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

  function round(entry: Active): void {
    const { behaviour } = entry.pod;
    if (!behaviour) return;
    const asker = new AbortController();
    void during(entry, asker, callAll(behaviour, {}, asker.signal, depsOf(entry)));
  }

  /** The first one after a part of the time between two, so that pods made together do not call together. */
  function begin(entry: Active, rate: number): void {
    const ms = 1000 / rate;
    entry.rounds = setTimeout(() => {
      round(entry);
      entry.rounds = setInterval(() => round(entry), ms);
    }, random() * ms);
  }

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
      // One handle, whichever of the two it is.
      clearTimeout(entry.rounds);
      if (rate !== undefined) begin(entry, rate);
    },
    drop(uid) {
      const entry = active.get(uid);
      if (!entry) return;
      active.delete(uid);
      clearTimeout(entry.rounds);
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
