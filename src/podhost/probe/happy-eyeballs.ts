/**
 * Which of a name's addresses a connection goes to: Happy Eyeballs, RFC 8305. IPv6 first, families in turn, the next
 * attempt 250 ms after the last or as soon as one fails; the first connection that stands wins, the others are dropped.
 */

/** Resolution Delay (section 3): how long an A answer waits for the AAAA answer. Milliseconds. */
const RESOLUTION_DELAY = 50;
/** Connection Attempt Delay (section 5). */
const ATTEMPT_DELAY = 250;

/** Both questions are on their way at once; an answer that is no good rejects. */
export interface Answers {
  six: Promise<string[]>;
  four: Promise<string[]>;
}

export interface RaceDeps<T> {
  /** Rejects when `signal` aborts: another attempt has won. */
  attempt(address: string, signal: AbortSignal): Promise<T>;
  /** Closes a connection that came too late. */
  discard(late: T): void;
  /** Calls back after so many milliseconds, unless cancelled. */
  after(ms: number, then: () => void): { cancel(): void };
  /** Ends it all. */
  signal: AbortSignal;
}

/** Rejects with the reason of `signal`, or the last error when no address is left. */
export function race<T>(answers: Answers, deps: RaceDeps<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const waiting: Record<4 | 6, string[]> = { 4: [], 6: [] };
  const over = new AbortController();
  let awaited = 2;
  let running = 0;
  let lastFamily: 4 | 6 = 4;
  let problem: unknown = new Error('ENOTFOUND the name has no address');
  /** While it runs, what was found waits. */
  let pause: { cancel(): void } | undefined;

  function finish(settle: () => void): void {
    if (over.signal.aborted) return;
    pause?.cancel();
    deps.signal.removeEventListener('abort', onAbort);
    over.abort(new Error('ECANCELED another address was faster'));
    settle();
  }
  const onAbort = () => finish(() => reject(deps.signal.reason));

  function next(): string | undefined {
    const first = lastFamily === 6 ? 4 : 6;
    const family = waiting[first].length > 0 ? first : lastFamily;
    const address = waiting[family].shift();
    if (address !== undefined) lastFamily = family;
    return address;
  }

  function wait(ms: number): void {
    pause?.cancel();
    pause = deps.after(ms, () => {
      pause = undefined;
      step();
    });
  }

  /** Starts the next attempt unless one has just begun. */
  function step(): void {
    if (over.signal.aborted || pause) return;
    const address = next();
    if (address !== undefined) return begin(address);
    if (running === 0 && awaited === 0) finish(() => reject(problem));
  }

  function begin(address: string): void {
    running++;
    wait(ATTEMPT_DELAY);
    deps.attempt(address, over.signal).then(
      (connection) => {
        if (over.signal.aborted) deps.discard(connection);
        else finish(() => resolve(connection));
      },
      (error: unknown) => failed(error),
    );
  }

  function failed(error: unknown): void {
    running--;
    problem = error;
    pause?.cancel();
    pause = undefined;
    step();
  }

  function found(family: 4 | 6, addresses: string[]): void {
    awaited--;
    waiting[family].push(...addresses);
    if (family === 4 && awaited > 0 && addresses.length > 0) return wait(RESOLUTION_DELAY);
    // The answer that the other waited for: only attempts hold up attempts.
    if (family === 6 && running === 0) {
      pause?.cancel();
      pause = undefined;
    }
    step();
  }

  deps.signal.addEventListener('abort', onAbort, { once: true });
  if (deps.signal.aborted) onAbort();
  for (const [family, answer] of [[6, answers.six] as const, [4, answers.four] as const])
    void answer
      .catch((error: unknown) => {
        problem = error;
        return [];
      })
      .then((addresses) => found(family, addresses));
  return promise;
}
