/**
 * The client seam without a server, for tests: objects in memory with revisions, conflicts, generations,
 * finalizers, label and simple field selectors, pages, watches. Behaves as an API server does, without
 * defaults, validation or admission.
 */
import * as kinds from '../api/kinds.ts';
import { type Kind, apiVersionOf } from '../api/kinds.ts';
import { mergePatch } from '../api/patch/merge-patch.ts';
import { compileTextSelector, parseFieldSelector } from '../api/selector.ts';
import type { KubeObject } from '../api/types.ts';
import { clone, type Json, sameJson } from '../lib/json.ts';
import { aborted } from '../lib/signals.ts';
import { ApiError } from './api-error.ts';
import { keyOf } from './informer-cache.ts';
import type { Client, List, Selectors, WatchEvent } from './types.ts';

export interface Write {
  verb: 'create' | 'update' | 'updateStatus' | 'patch' | 'delete' | 'subresource';
  kind: string;
  /** `namespace/name`; `namespace/prefix*` for a generated name. */
  key: string;
  subresource?: string;
  object: unknown;
}

export interface FakeClient extends Client {
  /** Every write tried, in order. */
  readonly writes: Write[];
  /** Called before each write; what it throws is the answer. */
  onWrite: ((write: Write) => void) | undefined;
  /** While true, watches deliver nothing: every cache is stale. */
  hold: boolean;
  release(): void;
  /** Watches from before now are answered 410 Gone. */
  compact(): void;
  /** Ends every open watch. */
  cut(): void;
  /** What is stored of a kind, sorted by key. */
  all<T>(kind: Kind<T>): T[];
}

/** Metadata that only the server sets. */
const SYSTEM = [
  'uid',
  'creationTimestamp',
  'generation',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
] as const;

interface Logged {
  type: 'ADDED' | 'MODIFIED' | 'DELETED';
  resource: string;
  revision: number;
  object: KubeObject;
  before?: KubeObject;
}

function fieldOf(object: KubeObject, path: string): string {
  const value = path
    .split('.')
    .reduce<unknown>((at, part) => (at as Record<string, unknown>)?.[part], object);
  return typeof value === 'string'
    ? value
    : value === undefined || value === null
      ? ''
      : JSON.stringify(value);
}

function matcher(selectors: Selectors): (object: KubeObject) => boolean {
  const labels = compileTextSelector(selectors.labelSelector ?? '');
  const fields = parseFieldSelector(selectors.fieldSelector ?? '');
  return (object) =>
    (!selectors.namespace || object.metadata.namespace === selectors.namespace) &&
    labels(object.metadata.labels) &&
    fields.every(({ field, operator, value }) => (fieldOf(object, field) === value) === (operator === '='));
}

const isHeld = ({ metadata, spec }: KubeObject): boolean =>
  [metadata.finalizers, (spec as { finalizers?: string[] } | undefined)?.finalizers].some(
    (list) => (list?.length ?? 0) > 0,
  );

/** Whether nothing keeps an object whose deletion has begun. */
const isReleased = (object: KubeObject): boolean =>
  object.metadata.deletionTimestamp !== undefined &&
  (object.metadata.deletionGracePeriodSeconds ?? 0) === 0 &&
  !isHeld(object);

export function createFakeClient(now: () => number = Date.now): FakeClient {
  const stores = new Map<string, Map<string, KubeObject>>();
  const log: Logged[] = [];
  let revision = 100;
  let serial = 0;
  let compacted = 0;
  let held = false;
  let epoch = 0;
  let wake = Promise.withResolvers<void>();

  const storeOf = (kind: Kind) => {
    const known = stores.get(kind.resource) ?? new Map<string, KubeObject>();
    stores.set(kind.resource, known);
    return known;
  };
  const notify = () => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  const stamp = () => new Date(now()).toISOString().replace(/\.\d+Z$/, 'Z');

  function commit(kind: Kind, type: Logged['type'], object: KubeObject, before?: KubeObject): KubeObject {
    object.metadata.resourceVersion = String(++revision);
    const store = storeOf(kind);
    if (type === 'DELETED') store.delete(keyOf(object.metadata));
    else store.set(keyOf(object.metadata), object);
    log.push({ type, resource: kind.resource, revision, object: clone(object), before });
    if (!held) notify();
    return clone(object);
  }

  function existing(kind: Kind, name: string, namespace?: string): KubeObject {
    const object = storeOf(kind).get(keyOf({ name, namespace }));
    if (!object) throw new ApiError(404, 'NotFound', `${kind.resource} "${name}" not found`);
    return object;
  }

  function tried(write: Write): void {
    fake.writes.push(clone(write));
    fake.onWrite?.(write);
  }

  function replace(kind: Kind, next: KubeObject, part: 'spec' | 'status'): KubeObject {
    const before = existing(kind, next.metadata.name, next.metadata.namespace);
    const { resourceVersion, uid } = next.metadata;
    if (resourceVersion && resourceVersion !== before.metadata.resourceVersion)
      throw new ApiError(
        409,
        'Conflict',
        `${kind.resource} "${next.metadata.name}": the object has been modified`,
      );
    if (uid && uid !== before.metadata.uid) throw new ApiError(409, 'Conflict', 'uid differs');
    const merged: KubeObject =
      part === 'status'
        ? { ...clone(before), status: clone(next['status']) }
        : { ...clone(next), status: clone(before['status']) };
    for (const key of SYSTEM) Object.assign(merged.metadata, { [key]: before.metadata[key] });
    merged.metadata.resourceVersion = before.metadata.resourceVersion;
    if (part === 'spec' && !sameJson(merged['spec'], before['spec']))
      merged.metadata.generation = (before.metadata.generation ?? 1) + 1;
    if (sameJson(merged, before)) return clone(before);
    if (isReleased(merged)) return commit(kind, 'DELETED', merged, before);
    return commit(kind, 'MODIFIED', merged, before);
  }

  function remove(kind: Kind, object: KubeObject, graceSeconds: number): KubeObject {
    if (graceSeconds === 0 && !isHeld(object)) return commit(kind, 'DELETED', clone(object), object);
    if (object.metadata.deletionTimestamp) return clone(object);
    const marked = clone(object);
    marked.metadata.deletionTimestamp = stamp();
    marked.metadata.deletionGracePeriodSeconds = graceSeconds;
    return commit(kind, 'MODIFIED', marked, object);
  }

  function graceOf(kind: Kind, object: KubeObject, asked?: number): number {
    if (kind.kind !== 'Pod' || !fieldOf(object, 'spec.nodeName')) return 0;
    return asked ?? 30;
  }

  async function* watch<T>(
    kind: Kind<T>,
    options: Selectors & { resourceVersion?: string },
    signal: AbortSignal,
  ) {
    const matches = matcher(options);
    const from = Number(options.resourceVersion ?? revision);
    if (from < compacted) throw new ApiError(410, 'Expired', `too old resource version: ${from}`);
    let next = log.findIndex((one) => one.revision > from);
    if (next < 0) next = log.length;
    const born = epoch;
    const open = () => !signal.aborted && epoch === born;
    const isHeld = () => held;
    const ended = aborted(signal);
    while (open()) {
      while (!isHeld() && next < log.length && open()) {
        const entry = log[next++]!;
        const event = entry.resource === kind.resource ? visible(entry, matches) : undefined;
        if (event) yield clone(event) as WatchEvent<T>;
      }
      if (held || next >= log.length) await Promise.race([wake.promise, ended]);
    }
  }

  function visible(
    entry: Logged,
    matches: (object: KubeObject) => boolean,
  ): WatchEvent<KubeObject> | undefined {
    const now = entry.type !== 'DELETED' && matches(entry.object);
    const before = entry.before !== undefined && matches(entry.before);
    if (now) return { type: before ? 'MODIFIED' : 'ADDED', object: entry.object };
    return before ? { type: 'DELETED', object: entry.object } : undefined;
  }

  const fake: FakeClient = {
    writes: [],
    onWrite: undefined,
    get hold() {
      return held;
    },
    set hold(value) {
      held = value;
      if (!value) notify();
    },
    release() {
      fake.hold = false;
    },
    compact() {
      compacted = revision;
    },
    cut() {
      epoch++;
      notify();
    },
    all: <T>(kind: Kind<T>) =>
      [...storeOf(kind)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => clone(object) as T),
    async list<T>(kind: Kind<T>, options = {}) {
      const { limit, continue: page } = options as { limit?: number; continue?: string };
      const found = fake
        .all(kind as Kind<KubeObject>)
        .filter(matcher(options))
        .filter((one) => !page || keyOf(one.metadata) > page);
      const items = found.slice(0, limit ?? found.length);
      const list: List<T> = { items: items as T[], resourceVersion: String(revision) };
      if (items.length < found.length) list.continue = keyOf(items.at(-1)!.metadata);
      return list;
    },
    get: async <T>(kind: Kind<T>, name: string, namespace?: string) =>
      clone(existing(kind, name, namespace)) as T,
    async create<T>(kind: Kind<T>, given: T) {
      const object = clone(given) as KubeObject;
      const { metadata } = object;
      const wanted = metadata.name || `${metadata.generateName ?? ''}*`;
      const where = metadata.namespace ? `${metadata.namespace}/${wanted}` : wanted;
      tried({ verb: 'create', kind: kind.kind, key: where, object });
      metadata.name ||= `${metadata.generateName}${(serial++).toString(36).padStart(5, '0')}`;
      if (storeOf(kind).has(keyOf(metadata)))
        throw new ApiError(409, 'AlreadyExists', `${kind.resource} "${metadata.name}" already exists`);
      metadata.uid = `uid-${(serial++).toString().padStart(6, '0')}`;
      metadata.creationTimestamp = stamp();
      metadata.generation = 1;
      object.apiVersion ??= apiVersionOf(kind);
      object.kind ??= kind.kind;
      return commit(kind, 'ADDED', object) as T;
    },
    async update<T>(kind: Kind<T>, given: T) {
      const object = clone(given) as KubeObject;
      tried({ verb: 'update', kind: kind.kind, key: keyOf(object.metadata), object });
      return replace(kind, object, 'spec') as T;
    },
    async updateStatus<T>(kind: Kind<T>, given: T) {
      const object = clone(given) as KubeObject;
      tried({ verb: 'updateStatus', kind: kind.kind, key: keyOf(object.metadata), object });
      return replace(kind, object, 'status') as T;
    },
    async patch<T>(kind: Kind<T>, name: string, namespace: string | undefined, patch: unknown, options = {}) {
      const { type = 'merge', subresource } = options as { type?: string; subresource?: string };
      tried({ verb: 'patch', kind: kind.kind, key: keyOf({ name, namespace }), subresource, object: patch });
      if (type === 'json')
        throw new ApiError(415, 'UnsupportedMediaType', 'the fake knows merge patches only');
      const before = existing(kind, name, namespace);
      const next = mergePatch(before as Json, patch as Json) as unknown as KubeObject;
      return replace(kind, next, subresource === 'status' ? 'status' : 'spec') as T;
    },
    async delete(kind, name, namespace, options = {}) {
      tried({ verb: 'delete', kind: kind.kind, key: keyOf({ name, namespace }), object: options });
      const object = existing(kind, name, namespace);
      const { preconditions, gracePeriodSeconds } = options;
      if (preconditions?.uid && preconditions.uid !== object.metadata.uid)
        throw new ApiError(409, 'Conflict', 'the UID in the precondition does not match');
      return remove(kind, object, graceOf(kind, object, gracePeriodSeconds));
    },
    async deleteCollection(kind, options = {}) {
      for (const object of fake.all(kind as Kind<KubeObject>).filter(matcher(options)))
        await fake.delete(kind, object.metadata.name, object.metadata.namespace, options);
    },
    watch,
    async subresource(_method, kind, name, namespace, subresource, body) {
      tried({
        verb: 'subresource',
        kind: kind.kind,
        key: keyOf({ name, namespace }),
        subresource,
        object: body,
      });
      const before = existing(kind, name, namespace);
      const next = clone(before);
      const { target, spec } = body as { target?: { name: string }; spec?: unknown };
      if (subresource === 'binding') {
        if (fieldOf(before, 'spec.nodeName'))
          throw new ApiError(409, 'Conflict', `pod ${name} is already assigned`);
        (next['spec'] as Record<string, unknown>)['nodeName'] = target?.name;
      } else if (subresource === 'finalize') {
        next['spec'] = spec;
        if (isReleased(next)) return commit(kind, 'DELETED', next, before);
      } else throw new ApiError(404, 'NotFound', `the fake has no subresource ${subresource}`);
      return replace(kind, next, 'spec');
    },
    request: async (_method, path) => ({ status: 200, headers: {}, text: discoveryText(path) }),
    close() {},
  };
  return fake;
}

/** Discovery of the kinds that `api/kinds.ts` names. */
function discoveryText(path: string): string {
  const all: Kind[] = Object.values(kinds).filter((one) => typeof one === 'object');
  const groups = [...new Set(all.map((kind) => kind.group))].filter((group) => group !== '');
  if (path === '/apis')
    return JSON.stringify({
      groups: groups.map((name) => ({ name, preferredVersion: { version: 'v1' } })),
    });
  const group = path === '/api/v1' ? '' : path.split('/')[2];
  const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
  const resources = all
    .filter((kind) => kind.group === group)
    .map(({ resource, kind, namespaced }) => ({ name: resource, kind, namespaced, verbs }));
  return JSON.stringify({ resources });
}

/** Waits until `ready` holds, asking at each turn; rejects after `ms` with what it waited for. */
export async function eventually(what: string, ready: () => boolean, ms = 60_000): Promise<void> {
  const end = performance.now() + ms;
  while (!ready()) {
    if (performance.now() > end) throw new Error(`did not happen within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
