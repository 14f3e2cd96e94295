/** Ctrl-C and its relatives, as an AbortSignal: the first asks, the second insists. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** Called at the second one. */
  onSecond(handler: () => void): void;
  dispose(): void;
}

/** On SIGINT, SIGTERM and SIGHUP; `dispose` gives them back their defaults. */
export function onInterrupt(): Interrupt {
  const first = new AbortController();
  let second: (() => void) | undefined;
  const handle = (name: string) => {
    if (first.signal.aborted) second?.();
    else first.abort(new Error(`received ${name}`));
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of names) process.on(name, handle);
  return {
    signal: first.signal,
    onSecond(handler) {
      second = handler;
    },
    dispose() {
      for (const name of names) process.off(name, handle);
    },
  };
}
