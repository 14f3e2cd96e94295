/** Writes pod statuses: what changes within a moment is one write, what does not change is none. */
import type { Pod } from '../api/types.ts';
import { createBackoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { PodStatus } from './status.ts';

export interface StatusWriterDeps {
  patch(pod: Pod, status: PodStatus): Promise<void>;
  clock: Clock;
  log: Log;
  /** Milliseconds that changes are gathered. Default 30. */
  gatherMs?: number;
}

export interface StatusWriter {
  /** `current` is asked when the write happens; undefined: nothing to write any more. */
  touch(uid: string, current: () => { pod: Pod; status: PodStatus } | undefined): void;
  forget(uid: string): void;
  readonly writes: number;
}

export function createStatusWriter(deps: StatusWriterDeps): StatusWriter {
  const { clock, log, gatherMs = 30 } = deps;
  const written = new Map<string, string>();
  const wanted = new Map<string, () => { pod: Pod; status: PodStatus } | undefined>();
  const working = new Set<string>();
  let writes = 0;

  async function work(uid: string): Promise<void> {
    const backoff = createBackoff(100, 10_000);
    await clock.sleep(gatherMs);
    for (let current = wanted.get(uid); current; current = wanted.get(uid)) {
      wanted.delete(uid);
      const now = current();
      if (!now) break;
      const text = JSON.stringify(now.status);
      if (written.get(uid) === text || sameAs(now.pod.status, now.status)) continue;
      try {
        await deps.patch(now.pod, now.status);
        writes++;
        written.set(uid, text);
        backoff.reset();
      } catch (error) {
        if (isGone(error)) break;
        log.warn('cannot write a pod status; trying again', {
          pod: `${now.pod.metadata.namespace}/${now.pod.metadata.name}`,
          error: errorText(error),
        });
        if (!wanted.has(uid)) wanted.set(uid, current);
        await clock.sleep(backoff.next());
      }
    }
    working.delete(uid);
  }

  return {
    touch(uid, current) {
      wanted.set(uid, current);
      if (working.has(uid)) return;
      working.add(uid);
      void work(uid);
    },
    forget(uid) {
      wanted.delete(uid);
      written.delete(uid);
    },
    get writes() {
      return writes;
    },
  };
}

/** Every field of `wanted` is in `now` already. */
export function sameAs(now: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted))
    return (
      Array.isArray(now) && now.length === wanted.length && wanted.every((item, i) => sameAs(now[i], item))
    );
  if (typeof wanted !== 'object' || wanted === null) return now === wanted;
  if (typeof now !== 'object' || now === null) return Object.keys(wanted).length === 0;
  return Object.entries(wanted).every(([key, value]) => sameAs((now as Record<string, unknown>)[key], value));
}

/** The API server no longer has the pod. */
export const isGone = (error: unknown): boolean =>
  typeof error === 'object' &&
  error !== null &&
  'code' in error &&
  (error.code === 404 || error.code === 409);

/** For `catch`: that the object is gone already is what was wanted. */
export function ignoreGone(error: unknown): void {
  if (!isGone(error)) throw error;
}
