/** Whether networks of pods can be made on this node, as its plugins answer STATUS (CNI 1.1.0, section 2). */
import type { Conflist } from '../cni/conflist.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';

export interface NetworkWatch {
  /** The same list; an ADD that fails has the plugins asked at once. */
  readonly conflist: Conflist;
  /** What they said last, as a kubelet words it; undefined: all is well, as far as is known. */
  problem(): string | undefined;
  run(signal: AbortSignal): Promise<void>;
}

const NOT_READY =
  'container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: ';
/** Milliseconds between questions, while all is well and while it is not. */
const CALM_MS = 30_000;
const TROUBLED_MS = 1000;

/** `onWell` is called when they can be made again. */
export function watchNetwork(
  conflist: Conflist,
  { clock, onWell }: { clock: Clock; onWell(): void },
): NetworkWatch {
  let problem: string | undefined;
  let wake = new AbortController();

  return {
    conflist: {
      ...conflist,
      async add(conf) {
        try {
          return await conflist.add(conf);
        } catch (error) {
          wake.abort();
          throw error;
        }
      },
    },
    problem: () => problem && `${NOT_READY}${problem}`,
    async run(signal) {
      while (!signal.aborted) {
        wake = new AbortController();
        const before = problem;
        problem = await conflist.status().then(() => undefined, errorText);
        if (before !== undefined && problem === undefined) onWell();
        const pause = problem === undefined ? CALM_MS : TROUBLED_MS;
        await clock.sleep(pause, AbortSignal.any([signal, wake.signal])).catch(() => {});
      }
    },
  };
}
