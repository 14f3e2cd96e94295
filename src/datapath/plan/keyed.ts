/**
 * Entries by the object that they come from. Two objects may claim one key (two Services with one cluster
 * address): the better claim has it, then the owner whose name is least, whoever came first, so that the tables
 * depend on what is there and not on the order in which it came.
 */
import { sameJson } from '../../lib/json.ts';
import { type Change, emptyState, type FrontendKind, TABLE_NAMES, type TableName } from './tables.ts';

export interface KeyedTables {
  /** Makes `entries` everything that `owner` says; returns what that changed. */
  replace(owner: string, entries: readonly Change[]): Change[];
  /**
   * Changes single entries of the one owner that has all of their tables: nobody else may claim there. Costs what the
   * changes are, however much the owner has.
   */
  patch(entries: readonly Change[]): Change[];
  readonly state: ReturnType<typeof emptyState>;
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

/** So many are compared with each other without a table of their keys. */
const FEW = 16;

interface Claim {
  readonly owner: string;
  readonly entry: Change;
}

function isBetter(a: Claim, b: Claim): boolean {
  const difference = rankOf(a.entry) - rankOf(b.entry);
  return difference < 0 || (difference === 0 && a.owner < b.owner);
}

const idOf = ({ table, key }: Change): string => `${table} ${key}`;

export function createKeyedTables(): KeyedTables {
  const owned = new Map<string, readonly Change[]>();
  /** Who claims a key, by table: one as a rule, and there are tens of thousands. */
  const owners = Object.fromEntries(TABLE_NAMES.map((table) => [table, new Map()])) as {
    [T in TableName]: Map<string, string | readonly string[]>;
  };
  const state = emptyState();

  function ownersOf({ table, key }: Change): readonly string[] {
    const known = owners[table].get(key) ?? [];
    return typeof known === 'string' ? [known] : known;
  }

  function setOwners({ table, key }: Change, list: readonly string[]): void {
    const [only] = list;
    if (only === undefined) owners[table].delete(key);
    else owners[table].set(key, list.length === 1 ? only : list);
  }

  /** Of an owner who is not being replaced. */
  function claimOf(owner: string, { table, key }: Change): Change | undefined {
    return owned.get(owner)?.find((each) => each.key === key && each.table === table);
  }

  function best(of: Change, claimed: (owner: string) => Change | undefined): unknown {
    const claims = ownersOf(of).flatMap((owner): Claim[] => {
      const entry = claimed(owner);
      return entry ? [{ owner, entry }] : [];
    });
    const [first, ...others] = claims;
    return first && others.reduce((least, each) => (isBetter(each, least) ? each : least), first).entry.value;
  }

  function settle({ table, key }: Change, value: unknown): Change | undefined {
    const rows: Map<string, unknown> = state[table];
    if (value === undefined ? !rows.has(key) : sameJson(rows.get(key), value)) return undefined;
    if (value === undefined) rows.delete(key);
    else rows.set(key, value);
    return { table, key, value } as Change;
  }

  function own(owner: string, entries: readonly Change[]): void {
    const before = owned.get(owner) ?? [];
    for (const entry of before)
      setOwners(
        entry,
        ownersOf(entry).filter((each) => each !== owner),
      );
    for (const entry of entries) {
      const others = ownersOf(entry);
      if (!others.includes(owner)) setOwners(entry, [...others, owner]);
    }
    if (entries.length === 0) owned.delete(owner);
    else owned.set(owner, entries);
  }

  /** Keys that nobody claims, each once: so are nearly all of the ten thousands that come at a start. */
  const isAlone = (entries: readonly Change[]): boolean =>
    entries.length < FEW &&
    entries.every(
      (entry, i) =>
        !owners[entry.table].has(entry.key) &&
        !entries.some((other, j) => j < i && other.key === entry.key && other.table === entry.table),
    );

  function settleNew(owner: string, entries: readonly Change[]): Change[] {
    if (entries.length > 0) owned.set(owner, entries);
    for (const { table, key } of entries) owners[table].set(key, owner);
    return entries.flatMap((entry) => settle(entry, entry.value) ?? []);
  }

  return {
    state,
    replace(owner, entries) {
      const before = owned.get(owner) ?? [];
      if (before.length === 0 && isAlone(entries)) return settleNew(owner, entries);
      const after = new Map(entries.map((entry) => [idOf(entry), entry]));
      own(owner, [...after.values()]);
      const changes: Change[] = [];
      for (const [id, entry] of new Map([...before.map((each) => [idOf(each), each] as const), ...after])) {
        const value = best(entry, (other) => (other === owner ? after.get(id) : claimOf(other, entry)));
        const change = settle(entry, value);
        if (change) changes.push(change);
      }
      return changes;
    },
    patch: (entries) => entries.flatMap((entry) => settle(entry, entry.value) ?? []),
  };
}
