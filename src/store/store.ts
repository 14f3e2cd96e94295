/**
 * Committed state in memory, the file in a worker. Writes are checked and numbered here, at once, against
 * the state that the writes before them will have made; they go to disk in groups (all that came while the
 * last group was being written), and only then are they visible, acknowledged and sent to watchers.
 */
import { HeddleError } from '../lib/errors.ts';
import { type Link, openLink } from './link.ts';
import { createState, type State } from './state.ts';
import {
  CompactedError,
  ConflictError,
  type Entry,
  type Store,
  type StoreEvent,
  type WriteRequest,
  type WriteResult,
} from './types.ts';
import { createWatchers } from './watchers.ts';
import type { WindowLimits } from './window.ts';

export interface StoreOptions {
  /** The SQLite file; its folder exists. */
  readonly path: string;
  /** How much history is kept for watches to resume from. Default 20,000 events, 64 MB of replaced text. */
  readonly window?: WindowLimits;
  /** Most pages of 4 kB that the file may have; beyond it writes fail with `StoreFull`. Default: no limit. */
  readonly maxPages?: number;
  /** Milliseconds to wait for another process to close the file. Default 3,000. */
  readonly busyTimeout?: number;
}

interface PendingWrite {
  readonly event: StoreEvent;
  resolve(result: WriteResult): void;
  reject(error: Error): void;
}

const DEFAULT_WINDOW: WindowLimits = { events: 20_000, bytes: 64 << 20 };
/** A group no larger than this keeps the latency of its first write low. */
const MAX_GROUP = 1000;

/** @throws HeddleError `StoreBusy`, `StoreCorrupt`, `StoreFormat`, `StoreOpen` */
export async function createStore(options: StoreOptions): Promise<Store> {
  const state = createState(options.window ?? DEFAULT_WINDOW);
  const link = await openLink(options, (row) => state.load(row));
  state.loaded(link.compacted);
  return operate(state, link);
}

function operate(state: State, link: Link): Store {
  const watchers = createWatchers();
  const queue: PendingWrite[] = [];
  /** The last write under way of each key that has one. */
  const latest = new Map<string, PendingWrite>();
  const counts = { commits: 0, writes: 0, conflicts: 0, failures: 0 };
  let nextRevision = state.revision() + 1;
  let flushing: Promise<void> | undefined;
  let closed = false;

  const settle = (write: PendingWrite) => {
    if (latest.get(write.event.key) === write) latest.delete(write.event.key);
  };

  async function flush(): Promise<void> {
    while (queue.length > 0) {
      const group = queue.splice(0, MAX_GROUP);
      try {
        await link.commit(
          group.map(({ event }) => rowOf(event)),
          state.takeCompaction(),
        );
        acknowledge(group);
      } catch (error) {
        // What is queued was checked against writes that have not happened: it fails with them.
        const failed = [...group, ...queue.splice(0)];
        counts.failures += failed.length;
        for (const write of failed) settle(write);
        for (const write of failed) write.reject(error as Error);
      }
    }
    flushing = undefined;
  }

  function acknowledge(group: readonly PendingWrite[]): void {
    counts.commits++;
    counts.writes += group.length;
    const events = group.map(({ event }) => event);
    state.apply(events);
    for (const write of group) settle(write);
    for (const { resolve, event } of group)
      resolve({ revision: event.revision, now: event.now, before: event.before });
    watchers.deliver(events);
  }

  function enqueue(request: WriteRequest, before: Entry | undefined): Promise<WriteResult> {
    const revision = nextRevision++;
    const { key } = request;
    const value = typeof request.value === 'function' ? request.value(revision) : request.value;
    const now = value === null ? undefined : { key, revision, value };
    const { promise, resolve, reject } = Promise.withResolvers<WriteResult>();
    const write = { event: { key, revision, now, before }, resolve, reject };
    latest.set(key, write);
    queue.push(write);
    flushing ??= Promise.resolve().then(flush);
    return promise;
  }

  return {
    get: (key) => state.get(key),
    list: (prefix, list = {}) => state.list(prefix, list),
    revision: () => state.revision(),
    failed: link.failed,
    async write(request) {
      if (closed || link.failed.aborted) throw (link.failed.reason as Error | undefined) ?? closedError();
      const pending = latest.get(request.key);
      const before = pending ? pending.event.now : state.get(request.key);
      if (request.expect !== undefined && (before?.revision ?? 0) !== request.expect) {
        counts.conflicts++;
        // Told once the winner is visible, so that whoever reads again reads what it lost to.
        await flushing;
        throw new ConflictError(request.key, state.get(request.key));
      }
      return enqueue(request, before);
    },
    watch(prefix, afterRevision, listener) {
      if (afterRevision < state.compacted()) throw new CompactedError(afterRevision, state.compacted());
      const missed = state.eventsAfter(afterRevision).filter(({ key }) => under(prefix, key));
      if (missed.length > 0) listener(missed);
      if (afterRevision <= state.revision()) return watchers.add(prefix, listener);
      return watchers.add(prefix, (events) => {
        const wanted = events.filter(({ revision }) => revision > afterRevision);
        if (wanted.length > 0) listener(wanted);
      });
    },
    stats: () => ({
      ...counts,
      revision: state.revision(),
      compacted: state.compacted(),
      keys: state.keys(),
      events: state.events(),
      watchers: watchers.size,
      pending: latest.size,
    }),
    async close() {
      closed = true;
      await flushing;
      await link.close();
    },
  };
}

const under = (prefix: string, key: string) =>
  prefix === '' || prefix.endsWith('/') ? key.startsWith(prefix) : key === prefix;

const rowOf = ({ revision, key, now }: StoreEvent) => ({ revision, key, value: now?.value ?? null });

const closedError = () => new HeddleError('StoreFailed', 'writing to the store: it is closed');
