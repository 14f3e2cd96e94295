/**
 * A local copy of one kind, kept by list and watch. After an error it tries again at once and then ever more
 * slowly, for ever; a lost connection resumes from the last revision, a lost revision lists again.
 */
import type { Kind } from '../api/kinds.ts';
import type { KubeObject } from '../api/types.ts';
import { createBackoff } from '../lib/backoff.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { ApiError, isExpired, isNotFound } from './api-error.ts';
import { type ChangeListener, type IndexFn, type IndexLookup, createCache, keyOf } from './informer-cache.ts';
import type { Client, Selectors, WatchEvent } from './types.ts';

export interface InformerOptions<O, T> extends Selectors {
  log: Log;
  /** What to keep of an object; all of it if absent. Must copy out of the object, not hold on to it. */
  keep?: (object: O) => T;
  clock?: Clock;
  /** Objects a list page. Default 500. */
  pageSize?: number;
  /** First and longest delay between attempts, milliseconds. Defaults 50 and 1,000. */
  retry?: { first: number; longest: number };
  /**
   * A server that does not know the kind has none of it: the copy is empty and synced, and the server is asked again
   * after this many milliseconds, because definitions come and go.
   */
  absentFor?: number;
}

export interface Informer<O, T = O> {
  readonly kind: Kind<O>;
  /** Until the signal aborts; never rejects for what the server does. */
  run(signal: AbortSignal): Promise<void>;
  /** By `namespace/name`, or the name of what has no namespace. */
  get(key: string): T | undefined;
  /** Sorted by key; shared, not to be changed. */
  list(): readonly T[];
  /** One index per name, shared by all who ask; lookups are sorted by key. */
  byIndex(name: string, fn: IndexFn<T>): IndexLookup<T>;
  /** Resolves after the first complete list, of which listeners have been told. */
  synced(): Promise<void>;
  readonly hasSynced: boolean;
  /**
   * Called once per key and turn, with what was last told, and before this returns for each object that is there
   * already; returns how to stop.
   */
  onChange(listener: ChangeListener<T>): () => void;
  /**
   * Puts the answer to one's own write into the copy, so that a decision made next turn sees it. Ignored when
   * the copy is already as new.
   */
  remember(object: O): void;
}

export function createInformer<O, T = O>(
  client: Client,
  kind: Kind<O>,
  options: InformerOptions<O, T>,
): Informer<O, T> {
  const { log, clock = systemClock, retry = { first: 50, longest: 1000 } } = options;
  const keep = options.keep ?? ((object: O) => object as unknown as T);
  const cache = createCache<T>();
  const backoff = createBackoff(retry.first, retry.longest);
  const first = Promise.withResolvers<void>();
  const selectors: Selectors = {
    namespace: options.namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
  };
  let hasSynced = false;
  let revision: string | undefined;
  let down = false;
  let isAbsent = false;

  async function relist(signal: AbortSignal): Promise<void> {
    const seen = new Set<string>();
    let page: string | undefined;
    let listed = '';
    do {
      const list = await client.list(kind, {
        ...selectors,
        limit: options.pageSize ?? 500,
        continue: page,
        signal,
      });
      for (const object of list.items) seen.add(store(object));
      // Every page of one list is of the first one's revision.
      listed ||= list.resourceVersion;
      page = list.continue;
    } while (page);
    for (const key of cache.keys())
      if (!seen.has(key) && !isNewer(cache.revisionOf(key), listed)) cache.delete(key);
    revision = listed;
    complete();
  }

  function complete(): void {
    if (hasSynced) return;
    hasSynced = true;
    first.resolve();
    // Before whoever waited for the list goes on: what he made of notices must not lack its end.
    cache.flush();
  }

  /** The kind is not served: there is none of it, until it is. */
  function absent(): void {
    for (const key of cache.keys()) cache.delete(key);
    revision = undefined;
    if (!isAbsent) log.info('the server does not have this kind', { kind: kind.kind });
    isAbsent = true;
    complete();
  }

  function store(object: O): string {
    const { metadata } = object as unknown as KubeObject;
    const key = keyOf(metadata);
    const at = metadata.resourceVersion ?? '';
    if (!isNewer(cache.revisionOf(key), at)) cache.set(key, keep(object), at);
    return key;
  }

  function apply({ type, object }: WatchEvent<O>): void {
    const { metadata } = object as unknown as KubeObject;
    if (type === 'DELETED') {
      const key = keyOf(metadata);
      if (!isNewer(cache.revisionOf(key), metadata.resourceVersion ?? '')) cache.delete(key);
    } else if (type !== 'BOOKMARK') store(object);
    revision = metadata.resourceVersion ?? revision;
  }

  async function follow(signal: AbortSignal): Promise<void> {
    if (revision === undefined) await relist(signal);
    const started = clock.monotonic();
    const events = client.watch(kind, { ...selectors, resourceVersion: revision }, signal);
    try {
      for await (const event of events) {
        apply(event);
        recovered();
      }
    } finally {
      // A watch that held is a good server, even if nothing happened.
      if (clock.monotonic() - started > retry.longest) recovered();
    }
  }

  function recovered(): void {
    backoff.reset();
    if (down) log.info('list and watch work again', { kind: kind.kind });
    down = false;
    isAbsent = false;
  }

  function failed(error: unknown): void {
    const fields = { kind: kind.kind, error: errorText(error) };
    if (isExpired(error)) {
      revision = undefined;
      log.debug('revision is gone; listing again', fields);
    } else if (!down) {
      // Said once for each outage.
      down = true;
      log.warn('list or watch failed; trying again until it works', fields);
    }
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let asked = 0;
      try {
        await follow(signal);
      } catch (error) {
        asked = retryAfterMs(error);
        if (options.absentFor !== undefined && isNotFound(error)) {
          absent();
          asked = Math.max(asked, options.absentFor);
        } else if (!signal.aborted) failed(error);
      }
      await clock.sleep(Math.max(asked, backoff.next()), signal).catch(() => {});
    }
  }

  return {
    kind,
    run,
    get: cache.get,
    list: cache.list,
    byIndex: cache.byIndex,
    synced: () => first.promise,
    get hasSynced() {
      return hasSynced;
    },
    onChange: cache.onChange,
    remember(object) {
      const at = (object as unknown as KubeObject).metadata.resourceVersion;
      if (hasSynced && revision !== undefined && isNewer(at, revision)) store(object);
    },
  };
}

/** How long the server asked to be left alone. */
const retryAfterMs = (error: unknown): number =>
  error instanceof ApiError ? Math.min(30, error.details?.retryAfterSeconds ?? 0) * 1000 : 0;

/** Revisions of one kind can be compared as numbers (Kubernetes 1.35); what is no number is never newer. */
export function isNewer(a: string | undefined, b: string | undefined): boolean {
  if (!a || !b || !/^\d+$/.test(a) || !/^\d+$/.test(b)) return false;
  return a.length === b.length ? a > b : a.length > b.length;
}
