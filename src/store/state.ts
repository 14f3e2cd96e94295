/** The committed state and its recent past, in memory. */
import type { Row } from './database.ts';
import { createSortedMap, type SortedMap } from './sorted-map.ts';
import { CompactedError, type Entry, type ListOptions, type ListResult, type StoreEvent } from './types.ts';
import { createWindow, type WindowLimits } from './window.ts';

export interface Compaction {
  readonly revision: number;
  readonly drop: readonly number[];
}

export interface State {
  /** A row of the file, in order of revision. */
  load(row: Row): void;
  /** After the last row. */
  loaded(compacted: number): void;
  get(key: string): Entry | undefined;
  list(prefix: string, options: ListOptions): ListResult;
  revision(): number;
  compacted(): number;
  keys(): number;
  events(): number;
  eventsAfter(revision: number): StoreEvent[];
  apply(events: readonly StoreEvent[]): void;
  /** What the file may forget since the last call; undefined when there is nothing. */
  takeCompaction(): Compaction | undefined;
}

export function createState(limits: WindowLimits): State {
  const resources = new Map<string, SortedMap>();
  const window = createWindow(limits);
  // Kubernetes gives 0 a meaning of its own ("any"), so the empty store is at 1.
  let revision = 1;
  let compacted = 0;
  let loading: StoreEvent[] = [];
  let drop: number[] = [];

  const resourceOf = (prefix: string): SortedMap => {
    const name = prefix.slice(0, prefix.indexOf('/', prefix.indexOf('/') + 1) + 1);
    let map = resources.get(name);
    if (!map) resources.set(name, (map = createSortedMap()));
    return map;
  };
  const put = (event: StoreEvent) => {
    const map = resourceOf(event.key);
    if (event.now) map.set(event.now);
    else map.delete(event.key);
    revision = Math.max(revision, event.revision);
  };
  const trim = () => {
    const trimmed = window.trim();
    for (const event of trimmed) {
      if (event.before) drop.push(event.before.revision);
      if (!event.now) drop.push(event.revision);
      compacted = event.revision;
    }
  };

  return {
    load(row) {
      const before = resourceOf(row.key).get(row.key);
      const now = row.value === null ? undefined : { key: row.key, revision: row.revision, value: row.value };
      const event = { key: row.key, revision: row.revision, now, before };
      loading.push(event);
      put(event);
    },
    loaded(fileCompacted) {
      compacted = fileCompacted;
      revision = Math.max(revision, compacted);
      for (const event of loading) if (event.revision > compacted) window.push(event);
      loading = [];
      trim();
    },
    get: (key) => resourceOf(key).get(key),
    revision: () => revision,
    compacted: () => compacted,
    keys: () => [...resources.values()].reduce((sum, map) => sum + map.size, 0),
    events: () => window.size,
    eventsAfter: (after) => window.after(after),
    apply(events) {
      for (const event of events) {
        put(event);
        window.push(event);
      }
      trim();
    },
    takeCompaction() {
      if (drop.length === 0) return undefined;
      const taken = { revision: compacted, drop };
      drop = [];
      return taken;
    },
    list(prefix, options) {
      const at = options.revision ?? revision;
      let entries = resourceOf(prefix).startingWith(prefix);
      if (at < revision) {
        if (at < compacted) throw new CompactedError(at, compacted);
        entries = rewind(entries, window.after(at), prefix);
      }
      if (options.after !== undefined) {
        const { after } = options;
        const start = entries.findIndex(({ key }) => key > after);
        entries = start < 0 ? [] : entries.slice(start);
      }
      const limit = options.limit ?? entries.length;
      const items = limit < entries.length ? entries.slice(0, limit) : entries;
      return { revision: at, items, remaining: entries.length - items.length };
    },
  };
}

/** Undoes events, the newest first. */
function rewind(entries: readonly Entry[], events: readonly StoreEvent[], prefix: string): Entry[] {
  const own = events.filter(({ key }) => key.startsWith(prefix));
  if (own.length === 0) return [...entries];
  const byKey = new Map(entries.map((entry) => [entry.key, entry]));
  for (const event of own.toReversed())
    if (event.before) byKey.set(event.key, event.before);
    else byKey.delete(event.key);
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
