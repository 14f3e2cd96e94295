/** When to start a process again that ended by itself. Times are monotonic milliseconds. */
export interface RestartPolicy {
  /** It ended at `now`: how long to wait, and whether it counts as broken from now on. */
  onExit(now: number): { delay: number; quarantined: boolean };
}

/** Exits within this time count together. */
const WINDOW = 60_000;
const FIRST_DELAY = 500;
const MAX_DELAY = 10_000;
/** A process in quarantine is still tried: what broke it may have been mended. */
const QUARANTINE_DELAY = 30_000;
const QUARANTINE_EXITS = 3;

/** At once the first time, then after 0.5 s; from the third exit within a minute on it is in quarantine. */
export function createRestartPolicy(): RestartPolicy {
  let exits: number[] = [];
  return {
    onExit(now) {
      exits = [...exits.filter((at) => now - at < WINDOW), now];
      if (exits.length >= QUARANTINE_EXITS) return { delay: QUARANTINE_DELAY, quarantined: true };
      const delay = exits.length === 1 ? 0 : Math.min(MAX_DELAY, FIRST_DELAY * 2 ** (exits.length - 2));
      return { delay, quarantined: false };
    },
  };
}
