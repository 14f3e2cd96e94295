/** Memory of this process. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Gives back what a start left behind: V8 collects as it allocates, and a process that then has little to do keeps
 * twice of what it needs for minutes. Stops the process for about 0.1 s for each 100 MB.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  // The other flavour keeps the pages.
  if (typeof collect === 'function') collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

export interface Housekeeping {
  /** So much of something came and may have left garbage. */
  note(amount: number): void;
  stop(): void;
}

/** Runs `collect` when `enough` was noted and nothing came for `quietMs`. */
export function createHousekeeping(options: {
  readonly enough: number;
  readonly quietMs: number;
  readonly collect?: () => void;
}): Housekeeping {
  const { enough, quietMs, collect = collectGarbage } = options;
  let noted = 0;
  let timer: NodeJS.Timeout | undefined;
  const due = (): void => {
    noted = 0;
    timer = undefined;
    collect();
  };
  return {
    note(amount) {
      noted += amount;
      if (noted < enough) return;
      if (timer) timer.refresh();
      else timer = setTimeout(due, quietMs).unref();
    },
    stop: () => clearTimeout(timer),
  };
}
