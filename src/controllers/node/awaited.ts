/** Who waits for the next round that begins after they asked. */
export interface Awaited {
  next(): Promise<void>;
  /** Of a round that begins: to be called when it has succeeded. Whoever asks after this waits for a later one. */
  begin(): () => void;
}

export function createAwaited(): Awaited {
  let waiting: PromiseWithResolvers<void>[] = [];
  return {
    next() {
      const entry = Promise.withResolvers<void>();
      waiting.push(entry);
      return entry.promise;
    },
    begin() {
      const those = [...waiting];
      return () => {
        waiting = waiting.filter((each) => !those.includes(each));
        for (const each of those) each.resolve();
      };
    },
  };
}
