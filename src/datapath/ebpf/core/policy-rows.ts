/** Changes of policy in the plan → changes of entries: what a table or range had before and has no more goes. */
import type { Change } from '../../plan/tables.ts';
import { countedAs } from '../../plan/pairs.ts';
import { textOf } from '../map-table.ts';
import type { CopyChange } from './copies.ts';
import type { CopiedRow, CoreRecords, SlotOf } from './records.ts';

export interface PolicyRows {
  update(changes: readonly Change[]): CopyChange[];
  /** Entries of a state given as changes. */
  all(changes: readonly Change[]): CopiedRow[];
  /** Rules that the changed tables name: they need slots first. */
  rulesOf(changes: readonly Change[]): Set<number>;
  clear(): void;
}

export function createPolicyRows(records: CoreRecords, slotOf: SlotOf): PolicyRows {
  /** By table and key of the plan: keys only, values are the kernel's and the copies'. */
  const known = new Map<string, readonly Pick<CopiedRow, 'map' | 'key'>[]>();

  function lower(change: Change): CopiedRow[] | undefined {
    if (change.table === 'identities')
      return change.value === undefined ? [] : [records.identity(change.key, change.value)];
    if (change.table === 'endpoints')
      return change.value === undefined ? [] : [records.endpoint(change.key, change.value)];
    if (change.table === 'policies')
      return change.value === undefined ? [] : records.policy(change.value, slotOf);
    return undefined;
  }

  const lowered = (changes: readonly Change[]) =>
    changes.flatMap((change) => {
      const rows = lower(change);
      return rows ? [{ id: `${change.table} ${change.key}`, rows }] : [];
    });

  return {
    update(changes) {
      const out: CopyChange[] = [];
      const drops: CopyChange[] = [];
      for (const { id, rows } of lowered(changes)) {
        const kept = new Set(rows.map(({ map, key }) => map + textOf(key)));
        for (const { map, key } of known.get(id) ?? [])
          if (!kept.has(map + textOf(key))) drops.push({ map, key, value: undefined });
        out.push(...rows);
        if (rows.length === 0) known.delete(id);
        else known.set(id, rows);
      }
      // An entry that moved from one table of the plan to another is written last.
      return [...drops, ...out];
    },
    all(changes) {
      const list = lowered(changes);
      for (const { id, rows } of list) known.set(id, rows);
      return list.flatMap(({ rows }) => rows);
    },
    rulesOf(changes) {
      const rules = new Set<number>();
      for (const change of changes) {
        if (change.table !== 'policies' || !change.value) continue;
        rules.add(change.value.defaultRule);
        for (const entry of change.value.entries) rules.add(countedAs(entry));
      }
      return rules;
    },
    clear: () => known.clear(),
  };
}
