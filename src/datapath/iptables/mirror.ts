/** What the tables should hold, and by which entries of the plan: endpoints' chains serve several frontends. */
import {
  applyChanges,
  type Change,
  emptyState,
  type PlanState,
  SETTINGS_KEY,
  stateChanges,
} from '../plan/tables.ts';
import { baseObjects } from './base.ts';
import type { Edit } from './diff.ts';
import { lowerFrontend } from './lower.ts';
import { BAGS, equal, idOf, type TableObject, type TableState } from './objects.ts';

export interface Mirror {
  readonly plan: PlanState;
  /** Writes changes in; what they change in the kernel's tables. */
  update(changes: readonly Change[]): Edit[];
  objects(): TableState;
  /** Chains of `BAGS` → how many rules stand at their end, see `parseSave`. */
  tails(): ReadonlyMap<string, number>;
}

const SETTINGS = 'settings';

export function createMirror(state: PlanState): Mirror {
  const plan = emptyState();
  const groups = new Map<string, readonly TableObject[]>();
  const held = new Map<string, { object: TableObject; uses: number }>();

  function lower(group: string): TableObject[] {
    const settings = plan.settings.get(SETTINGS_KEY);
    if (group === SETTINGS) return baseObjects(settings);
    const frontend = plan.services.get(group);
    return frontend ? lowerFrontend(frontend, settings) : [];
  }

  function regroup(group: string, after: readonly TableObject[]): void {
    for (const object of after) {
      const id = idOf(object);
      held.set(id, { object, uses: (held.get(id)?.uses ?? 0) + 1 });
    }
    for (const object of groups.get(group) ?? []) {
      const entry = held.get(idOf(object));
      if (entry && --entry.uses === 0) held.delete(idOf(object));
    }
    if (after.length === 0) groups.delete(group);
    else groups.set(group, after);
  }

  applyChanges(plan, stateChanges(state));
  for (const group of [SETTINGS, ...plan.services.keys()]) regroup(group, lower(group));

  return {
    plan,
    objects: () => new Map([...held].map(([id, { object }]) => [id, object])),
    tails: () =>
      new Map(
        [...held.values()].flatMap(({ object }) =>
          object.type === 'chain' && BAGS.has(object.name)
            ? [[`${object.table} ${object.name}`, object.rules.length] as const]
            : [],
        ),
      ),
    update(changes) {
      applyChanges(plan, changes);
      const touched = new Set(changes.flatMap(({ table, key }) => (table === 'services' ? [key] : [])));
      if (changes.some(({ table }) => table === 'settings'))
        for (const group of [SETTINGS, ...plan.services.keys()]) touched.add(group);
      const next = [...touched].map((group) => ({ group, objects: lower(group) }));
      const before = new Map<string, TableObject | undefined>();
      for (const { group, objects } of next)
        for (const object of [...(groups.get(group) ?? []), ...objects])
          before.set(idOf(object), held.get(idOf(object))?.object);
      for (const { group, objects } of next) regroup(group, objects);
      return [...before].flatMap(([id, was]) => {
        const now = held.get(id)?.object;
        if (!was && !now) return [];
        return was && now && equal(was, now) ? [] : [{ before: was, after: now }];
      });
    },
  };
}
