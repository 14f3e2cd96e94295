/** The contract of the store: revisions, compare-and-swap, watch. See README.md. */
export interface Entry {
  readonly key: string;
  /** The store-wide revision that wrote this value. */
  readonly revision: number;
  /** JSON text, as written. */
  readonly value: string;
}

export interface StoreEvent {
  readonly key: string;
  readonly revision: number;
  /** Undefined when the key was deleted. */
  readonly now: Entry | undefined;
  /** What the key held before; undefined when it is new. */
  readonly before: Entry | undefined;
}

export interface WriteRequest {
  /** Segments joined by `/`; the first two name the resource: `apps/deployments/default/web`. */
  readonly key: string;
  /** JSON text, or what makes it once the revision is known; null deletes. */
  readonly value: string | null | ((revision: number) => string);
  /** The revision that the key must be at, 0 for "absent"; without it the write is unconditional. */
  readonly expect?: number;
}

export interface WriteResult {
  readonly revision: number;
  readonly now: Entry | undefined;
  readonly before: Entry | undefined;
}

export interface ListResult {
  readonly revision: number;
  readonly items: Entry[];
  /** How many more the same list without `limit` would have. */
  readonly remaining: number;
}

export interface ListOptions {
  /** The state as of this revision. @throws CompactedError when it is forgotten */
  readonly revision?: number;
  /** Only keys after this one. */
  readonly after?: string;
  readonly limit?: number;
}

export interface StoreStats {
  readonly revision: number;
  readonly compacted: number;
  readonly keys: number;
  readonly events: number;
  readonly watchers: number;
  readonly pending: number;
  readonly commits: number;
  readonly writes: number;
  readonly conflicts: number;
  readonly failures: number;
}

export interface Store {
  /** The committed value. */
  get(key: string): Entry | undefined;
  /** Committed entries whose key starts with `prefix` (which ends in `/`), in key order. */
  list(prefix: string, options?: ListOptions): ListResult;
  /** The last committed revision; at least 1. */
  revision(): number;
  /** Resolves when the write is on disk. @throws ConflictError, HeddleError `StoreFull`, `StoreFailed` */
  write(request: WriteRequest): Promise<WriteResult>;
  /**
   * Events after `afterRevision` under `prefix` (a prefix ending in `/`, or one whole key): first those that
   * are remembered, in this call, then live ones, at each commit. The listener must not throw.
   * @throws CompactedError
   */
  watch(prefix: string, afterRevision: number, listener: (events: StoreEvent[]) => void): () => void;
  stats(): StoreStats;
  /** Aborts when the disk can no longer be trusted; the process should end, and open the store anew. */
  readonly failed: AbortSignal;
  /** Waits for the writes under way, then closes the file. */
  close(): Promise<void>;
}

/** The key is not at the revision the writer expected. */
export class ConflictError extends Error {
  readonly current: Entry | undefined;
  constructor(key: string, current: Entry | undefined) {
    super(`${key} is at revision ${current?.revision ?? 0}`);
    this.name = 'ConflictError';
    this.current = current;
  }
}

/** The asked revision is older than what the store remembers. */
export class CompactedError extends Error {
  readonly revision: number;
  readonly compacted: number;
  constructor(revision: number, compacted: number) {
    super(`revision ${revision} is compacted; the oldest is ${compacted}`);
    this.name = 'CompactedError';
    this.revision = revision;
    this.compacted = compacted;
  }
}
