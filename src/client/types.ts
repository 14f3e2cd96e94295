/** The client seam: all that controllers, agents and the CLI see of an API server. */
import type { Kind } from '../api/kinds.ts';

export interface Selectors {
  namespace?: string;
  /** `app=web,tier in (a,b)` */
  labelSelector?: string;
  /** `spec.nodeName=node-1` */
  fieldSelector?: string;
}

export interface ListOptions extends Selectors {
  /** Page size; the answer has `continue` while there is more. */
  limit?: number;
  continue?: string;
  /** Unset: the newest. `'0'`: whatever the server has at hand. */
  resourceVersion?: string;
  signal?: AbortSignal;
}

export interface List<T> {
  items: T[];
  /** To watch from. */
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export interface WatchOptions extends Selectors {
  /** Events after this revision; unset: everything that exists first, as ADDED. */
  resourceVersion?: string;
  /** Asked of the server, seconds. Default: 300 to 600 at random, so that watchers do not return together. */
  timeoutSeconds?: number;
  /** The connection is given up after so long without a byte, milliseconds. Default 120,000. */
  idleTimeoutMs?: number;
}

export interface WatchEvent<T> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';
  /** Of a BOOKMARK only `metadata.resourceVersion` is meaningful. */
  object: T;
}

export interface PatchOptions {
  /** Default `merge` (RFC 7386); `json` is RFC 6902; `strategic` merges lists by their keys. */
  type?: 'merge' | 'strategic' | 'json';
  subresource?: string;
  fieldManager?: string;
  signal?: AbortSignal;
}

export interface DeleteOptions {
  /** Seconds; unset: the kind's own (30 for pods). */
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  /** 409 Conflict when they do not hold. */
  preconditions?: { uid?: string; resourceVersion?: string };
  signal?: AbortSignal;
}

export interface RequestOptions {
  body?: unknown;
  contentType?: string;
  accept?: string;
  signal?: AbortSignal;
  /** Milliseconds for the whole request. Default 30,000. */
  timeoutMs?: number;
}

export interface RawResponse {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
}

/**
 * Errors: `ApiError` for what the server refuses, HeddleError `ApiUnreachable` when no address answers,
 * `ApiTimeout` when the answer does not come, `ApiBadAnswer` when it makes no sense. 429 and 503 with Retry-After are retried inside.
 */
export interface Client {
  list<T>(kind: Kind<T>, options?: ListOptions): Promise<List<T>>;
  get<T>(kind: Kind<T>, name: string, namespace?: string): Promise<T>;
  create<T>(kind: Kind<T>, object: T): Promise<T>;
  /** Conflict (409) when `metadata.resourceVersion` is set and no longer the newest. */
  update<T>(kind: Kind<T>, object: T): Promise<T>;
  updateStatus<T>(kind: Kind<T>, object: T): Promise<T>;
  patch<T>(
    kind: Kind<T>,
    name: string,
    namespace: string | undefined,
    patch: unknown,
    options?: PatchOptions,
  ): Promise<T>;
  /** The object as it was last, or as it is now if it ends gracefully or has finalizers; or a Status. */
  delete<T>(kind: Kind<T>, name: string, namespace?: string, options?: DeleteOptions): Promise<unknown>;
  deleteCollection<T>(kind: Kind<T>, options?: Selectors & DeleteOptions): Promise<void>;
  /** Ends when the server ends it or the signal aborts. Throws ApiError 410 when the revision is gone. */
  watch<T>(kind: Kind<T>, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
  /** POST (or PUT) to `<object>/<subresource>`: `binding`, `finalize`, `eviction`. */
  subresource<T>(
    method: 'POST' | 'PUT' | 'GET',
    kind: Kind<T>,
    name: string,
    namespace: string | undefined,
    subresource: string,
    body?: unknown,
  ): Promise<unknown>;
  /** Any path, answered as it came, whatever the status: `/readyz`, `/version`, Tables. */
  request(method: string, path: string, options?: RequestOptions): Promise<RawResponse>;
  close(): void;
}
