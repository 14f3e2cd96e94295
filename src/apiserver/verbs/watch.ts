/** watch: what is, then what changes, one JSON event a line. */
import type { ServerResponse } from 'node:http';
import { apiVersionOf } from '../../api/kinds.ts';
import type { KubeObject } from '../../api/types.ts';
import { CompactedError, type Entry, type ListResult, type StoreEvent } from '../../store/types.ts';
import type { Call, Deps } from '../deps.ts';
import { badRequest, expired, statusOf } from '../failure.ts';
import { includeObjectOf, partialOf, tableOf } from '../form.ts';
import { type Form, formOf } from '../negotiate.ts';
import { objectOf, textAt } from '../objects.ts';
import { isTrue } from '../request-info.ts';
import { type Selection, selectionOf } from '../selection.ts';
import { createEventStream } from '../event-stream.ts';
import { revisionOf } from './read.ts';

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

const BOOKMARK_MS = 30_000;
/** Seconds; drawn from the range, so that watchers do not come back together. */
const TIMEOUT = { least: 1800, most: 3600 } as const;
/** Clients ask for this after the first objects (WatchList). */
const INITIAL_END = { 'k8s.io/initial-events-end': 'true' };

/** Takes over the response; resolves when the watch has ended. @throws ApiFailure before the first byte */
export function watch(deps: Deps, call: Call, response: ServerResponse): Promise<void> {
  const { store, clock, stopping } = deps;
  const form = formOf(call.accept);
  const selection = selectionOf(call.resource, call.info, call.query);
  const start = startOf(deps, call);
  const encode = encoderOf(form, call, clock);
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });

  const first = start.initial ? store.list(selection.prefix) : undefined;
  const lines = first ? initialLines(first, selection, (entry) => encode(created(entry), 'ADDED')) : [];
  const last = first && start.initialEnd ? [bookmark(call, first.revision, INITIAL_END)] : [];
  // Tables carry their columns in the first line, so theirs are made in order, now.
  const initial = form.as === 'Table' ? [...lines] : chain(lines, last);
  const stream = createEventStream(response, initial);
  let seen = first?.revision ?? start.after;
  const onEvents = (events: StoreEvent[]) => {
    for (const event of events) {
      const type = typeFor(event, selection);
      if (type) stream.push(encode(event, type));
      seen = event.revision;
    }
  };
  response.flushHeaders();
  let stop: () => void;
  try {
    stop = store.watch(selection.prefix, seen, onEvents);
  } catch (error) {
    // Only a revision that startOf has let through; compaction cannot run in between.
    stream.push(errorLine(error));
    stream.end();
    return stream.ended;
  }
  const bookmarks = start.bookmarks
    ? setInterval(() => stream.push(bookmark(call, Math.max(seen, store.revision()))), BOOKMARK_MS)
    : undefined;
  const finish = () => {
    if (start.bookmarks) stream.push(bookmark(call, Math.max(seen, store.revision())));
    stream.end();
  };
  const timer = setTimeout(finish, start.timeoutMs);
  stopping.addEventListener('abort', finish, { once: true });
  return stream.ended.finally(() => {
    stop();
    clearInterval(bookmarks);
    clearTimeout(timer);
    stopping.removeEventListener('abort', finish);
  });
}

interface Start {
  /** Send what is there before what changes. */
  readonly initial: boolean;
  readonly initialEnd: boolean;
  readonly after: number;
  readonly bookmarks: boolean;
  readonly timeoutMs: number;
}

/** @throws ApiFailure 400, 410 */
function startOf({ store }: Deps, { query, accept }: Call): Start {
  const revision = revisionOf(query);
  const sendInitial = query.get('sendInitialEvents');
  const match = query.get('resourceVersionMatch') ?? '';
  if (sendInitial !== null && match !== 'NotOlderThan')
    throw badRequest('sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
  if (sendInitial === null && match !== '')
    throw badRequest('resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided');
  const initial = sendInitial === null ? revision === undefined || revision === 0 : isTrue(sendInitial);
  if (revision !== undefined && revision > store.revision())
    throw expired(`too large resource version: ${revision} (${store.revision()})`);
  if (!initial && revision !== undefined && revision > 0 && revision < store.stats().compacted)
    throw expired(`too old resource version: ${revision} (${store.stats().compacted})`);
  const seconds = Number(query.get('timeoutSeconds') ?? 0);
  const drawn = TIMEOUT.least + Math.random() * (TIMEOUT.most - TIMEOUT.least);
  return {
    initial,
    initialEnd: isTrue(sendInitial) && isTrue(query.get('allowWatchBookmarks')),
    after: revision === undefined || revision === 0 ? store.revision() : revision,
    // A Table has no place for a bookmark.
    bookmarks: isTrue(query.get('allowWatchBookmarks')) && formOf(accept).as !== 'Table',
    timeoutMs: (seconds > 0 ? Math.min(seconds, 86_400) : drawn) * 1000,
  };
}

/** Made while they are sent: many watchers that begin at once would hold a copy of everything each. */
function* initialLines(
  { items }: ListResult,
  selection: Selection,
  encode: (entry: Entry) => Buffer,
): Generator<Buffer> {
  for (const entry of items) if (isSelected(entry, selection)) yield encode(entry);
}

function* chain<T>(...parts: readonly Iterable<T>[]): Generator<T> {
  for (const part of parts) yield* part;
}

const created = (entry: Entry): StoreEvent => ({
  key: entry.key,
  revision: entry.revision,
  now: entry,
  before: undefined,
});

function isSelected(entry: Entry | undefined, { prefix, matches }: Selection): boolean {
  if (!entry || (!prefix.endsWith('/') && entry.key !== prefix)) return false;
  return !matches || matches(objectOf(entry));
}

/** An object that begins to match is ADDED, one that ceases to is DELETED, whatever happened to it. */
function typeFor({ now, before }: StoreEvent, selection: Selection): EventType | undefined {
  const is = isSelected(now, selection);
  const was = isSelected(before, selection);
  if (is) return was ? 'MODIFIED' : 'ADDED';
  return was ? 'DELETED' : undefined;
}

type Encode = (event: StoreEvent, type: EventType) => Buffer;

function encoderOf(form: Form, { resource, query }: Call, clock: Deps['clock']): Encode {
  if (form.as === 'object') return encodeShared;
  if (form.as === 'PartialObjectMetadata')
    return (event, type) => line(type, JSON.stringify(partialOf(shownObject(event))));
  const include = includeObjectOf(query);
  let headers = true;
  return (event, type) => {
    const metadata = { resourceVersion: String(event.revision) };
    const options = { version: form.version, metadata, include, now: clock.now(), headers };
    headers = false;
    return line(type, JSON.stringify(tableOf(resource, [shownObject(event)], options)));
  };
}

const line = (type: string, object: string) => Buffer.from(`{"type":"${type}","object":${object}}\n`);

/** What is gone, or no longer selected, is shown as it was, at the revision of the event. */
function shownText({ now, before, revision }: StoreEvent, type: EventType): string {
  if (type !== 'DELETED' && now) return now.value;
  return before ? textAt(objectOf(before), revision) : '{}';
}

function shownObject({ now, before, revision }: StoreEvent): KubeObject {
  if (now) return objectOf(now);
  const old = objectOf(before!);
  return { ...old, metadata: { ...old.metadata, resourceVersion: String(revision) } };
}

const encoded = new WeakMap<StoreEvent, Partial<Record<EventType, Buffer>>>();

/** Encoded once for all watchers of an event. */
function encodeShared(event: StoreEvent, type: EventType): Buffer {
  let lines = encoded.get(event);
  if (!lines) encoded.set(event, (lines = {}));
  return (lines[type] ??= line(type, shownText(event, type)));
}

function bookmark({ resource }: Call, revision: number, annotations?: Record<string, string>): Buffer {
  const { kind } = resource;
  return line(
    'BOOKMARK',
    JSON.stringify({
      kind: kind.kind,
      apiVersion: apiVersionOf(kind),
      metadata: {
        resourceVersion: String(revision),
        creationTimestamp: null,
        ...(annotations ? { annotations } : {}),
      },
    }),
  );
}

function errorLine(error: unknown): Buffer {
  if (!(error instanceof CompactedError)) throw error;
  const failure = expired(`too old resource version: ${error.revision} (${error.compacted})`);
  return line('ERROR', JSON.stringify(statusOf(failure)));
}
