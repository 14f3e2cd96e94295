/** A backend that remembers. For tests of what stands above one; it passes the contract but for packets. */
import { sameJson } from '../lib/json.ts';
import type { Backend, Capabilities, Counter, Difference, PolicyEvent } from './backend.ts';
import { SERVICE_CAPABILITIES } from './ebpf/capabilities.ts';
import {
  applyChanges,
  type Change,
  emptyState,
  type PlanState,
  stateChanges,
  TABLE_NAMES,
  type TableName,
} from './plan/tables.ts';

export interface FakeBackend extends Backend {
  /** Set by `remove`. */
  readonly removed: boolean;
  /** What the kernel would hold. Tests may damage it. */
  readonly kernel: ReturnType<typeof emptyState>;
  /** Non-empty batches that were sent, `prune`'s too. */
  readonly sent: Change[][];
  /** The next `apply` or `prune` rejects with it. */
  failNext(error: Error): void;
  setCounter(rule: number, counter: Counter): void;
  emit(events: readonly PolicyEvent[]): void;
}

/** Those of the backend that can do most. */
const capabilities: Capabilities = {
  families: [4, 6],
  policy: true,
  cutsEstablished: true,
  ...SERVICE_CAPABILITIES,
};

export function createFakeBackend(): FakeBackend {
  const kernel = emptyState();
  const wanted = emptyState();
  const sent: Change[][] = [];
  const counters = new Map<number, Counter>();
  const listeners = new Set<(events: readonly PolicyEvent[]) => void>();
  let failure: Error | undefined;
  let pruned = false;
  let removed = false;

  function send(changes: Change[]): void {
    if (failure) {
      const error = failure;
      failure = undefined;
      throw error;
    }
    if (changes.length > 0) sent.push(changes);
    applyChanges(kernel, changes);
  }

  return {
    name: 'fake',
    capabilities,
    kernel,
    sent,
    async apply(changes) {
      if (!pruned) throw new TypeError('the data path is not pruned yet: prune(state) comes before apply');
      send(changes.filter((change) => !sameJson(lookup(kernel, change.table, change.key), change.value)));
      applyChanges(wanted, changes);
    },
    async prune(state) {
      const changes = changesBetween(kernel, state);
      const mended = changes.map((change) => difference(kernel, change));
      send(changes);
      for (const table of TABLE_NAMES) wanted[table].clear();
      applyChanges(wanted, stateChanges(state));
      pruned = true;
      return mended;
    },
    async verify() {
      return changesBetween(kernel, wanted).map((change) => difference(kernel, change));
    },
    async counters() {
      return new Map(counters);
    },
    events(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    get removed() {
      return removed;
    },
    async remove() {
      send(changesBetween(kernel, emptyState()));
      removed = true;
      pruned = false;
    },
    close: () => listeners.clear(),
    failNext: (error) => {
      failure = error;
    },
    setCounter: (rule, counter) => void counters.set(rule, counter),
    emit: (events) => {
      for (const listener of listeners) listener(events);
    },
  };
}

const lookup = (state: PlanState, table: TableName, key: string): unknown =>
  (state[table] as ReadonlyMap<string, unknown>).get(key);

/** What turns the first state into the second. */
function changesBetween(from: PlanState, to: PlanState): Change[] {
  const gone = stateChanges(from).filter(({ table, key }) => lookup(to, table, key) === undefined);
  return [
    ...gone.map(({ table, key }) => ({ table, key, value: undefined })),
    ...stateChanges(to).filter(({ table, key, value }) => !sameJson(lookup(from, table, key), value)),
  ];
}

function difference(kernel: PlanState, { table, key, value }: Change): Difference {
  const had = lookup(kernel, table, key) !== undefined;
  return { kind: value === undefined ? 'foreign' : had ? 'changed' : 'missing', what: `${table} ${key}` };
}
