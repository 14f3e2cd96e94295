/** Watchers by prefix: an event finds its own in as many look-ups as its key has segments. */
import type { StoreEvent } from './types.ts';

export type Listener = (events: StoreEvent[]) => void;

export interface Watchers {
  readonly size: number;
  add(prefix: string, listener: Listener): () => void;
  /** Each listener is called once, with its events in order. */
  deliver(events: readonly StoreEvent[]): void;
}

export function createWatchers(): Watchers {
  const byPrefix = new Map<string, Set<{ listener: Listener }>>();
  let size = 0;
  return {
    get size() {
      return size;
    },
    add(prefix, listener) {
      let group = byPrefix.get(prefix);
      if (!group) byPrefix.set(prefix, (group = new Set()));
      const watcher = { listener };
      group.add(watcher);
      size++;
      return () => {
        if (!group.delete(watcher)) return;
        size--;
        if (group.size === 0 && byPrefix.get(prefix) === group) byPrefix.delete(prefix);
      };
    },
    deliver(events) {
      const groups = new Map<Set<{ listener: Listener }>, StoreEvent[]>();
      for (const event of events)
        for (const prefix of prefixesOf(event.key)) {
          const group = byPrefix.get(prefix);
          if (!group) continue;
          const own = groups.get(group);
          if (own) own.push(event);
          else groups.set(group, [event]);
        }
      for (const [group, own] of groups) {
        // A copy: a listener may add watchers, which have had these events already.
        for (const watcher of Array.from(group)) watcher.listener(own);
      }
    },
  };
}

/** `a/b/c` → ``, `a/`, `a/b/`, `a/b/c`. */
function prefixesOf(key: string): string[] {
  const prefixes = [''];
  for (let at = key.indexOf('/'); at >= 0; at = key.indexOf('/', at + 1)) prefixes.push(key.slice(0, at + 1));
  prefixes.push(key);
  return prefixes;
}
