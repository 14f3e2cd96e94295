/**
 * Entries by the object that they come from. Two objects may claim one key (two Services with one cluster
 * address): the better claim has it, then the owner whose name is least, whoever came first, so that the tables
 * depend on what is there and not on the order in which it came.
 */
import { sameJson } from '../../lib/json.ts';
import { type Change, emptyState, type FrontendKind, type TableName } from './tables.ts';

export interface KeyedTables {
  /** Makes `entries` everything that `owner` says; returns what that changed. */
  replace(owner: string, entries: readonly Change[]): Change[];
  readonly state: ReturnType<typeof emptyState>;
}

interface Claim {
  readonly owner: string;
  readonly entry: Change;
}

/** Cluster and balancer addresses are given out by the cluster; external ones are what somebody wrote. */
const RANKS: Readonly<Record<FrontendKind, number>> = {
  ClusterIP: 0,
  LoadBalancer: 1,
  NodePort: 2,
  ExternalIP: 3,
};

const rankOf = ({ table, value }: Change): number =>
  table === 'services' && value !== undefined ? RANKS[value.kind] : 0;

function isBetter(a: Claim, b: Claim): boolean {
  const difference = rankOf(a.entry) - rankOf(b.entry);
  return difference < 0 || (difference === 0 && a.owner < b.owner);
}

const idOf = (entry: { table: TableName; key: string }): string => `${entry.table} ${entry.key}`;

export function createKeyedTables(): KeyedTables {
  const owned = new Map<string, ReadonlyMap<string, Change>>();
  const contested = new Map<string, Claim[]>();
  const state = emptyState();

  function claim(id: string, owner: string, entry: Change | undefined): void {
    const others = (contested.get(id) ?? []).filter((each) => each.owner !== owner);
    const claims = entry === undefined ? others : [...others, { owner, entry }];
    if (claims.length === 0) contested.delete(id);
    else contested.set(id, claims);
  }

  function settle(id: string, { table, key }: Change): Change | undefined {
    const claims = contested.get(id) ?? [];
    const winner = claims.reduce<Claim | undefined>(
      (least, each) => (least === undefined || isBetter(each, least) ? each : least),
      undefined,
    );
    const rows: Map<string, unknown> = state[table];
    const value = winner?.entry.value;
    if (value === undefined ? !rows.has(key) : sameJson(rows.get(key), value)) return undefined;
    if (value === undefined) rows.delete(key);
    else rows.set(key, value);
    return { table, key, value } as Change;
  }

  return {
    state,
    replace(owner, entries) {
      const before = owned.get(owner) ?? new Map<string, Change>();
      const after = new Map(entries.map((entry) => [idOf(entry), entry]));
      if (after.size === 0) owned.delete(owner);
      else owned.set(owner, after);
      const touched = new Map([...before, ...after]);
      const changes: Change[] = [];
      for (const [id, entry] of touched) {
        claim(id, owner, after.get(id));
        const change = settle(id, entry);
        if (change) changes.push(change);
      }
      return changes;
    },
  };
}
