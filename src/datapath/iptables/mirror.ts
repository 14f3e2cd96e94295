/** What the tables should hold, and by which entries of the plan: endpoints' chains serve several frontends. */
import {
  applyChanges,
  type Change,
  emptyState,
  type PlanState,
  SETTINGS_KEY,
  stateChanges,
} from '../plan/tables.ts';
import { createHeld } from '../held.ts';
import { baseObjects } from './base.ts';
import type { Edit } from './diff.ts';
import { lowerFrontend } from './lower.ts';
import { BAGS, equal, type Family, idOf, type TableObject, type TableState } from './objects.ts';

export interface Mirror {
  readonly plan: PlanState;
  /** Writes changes in; what they change in the kernel's tables. */
  update(changes: readonly Change[]): Edit[];
  objects(): TableState;
  /** Chains of `BAGS` of a family → how many rules stand at their end, see `parseSave`. */
  tails(family: Family): ReadonlyMap<string, number>;
}

const SETTINGS = 'settings';

export function createMirror(state: PlanState): Mirror {
  const plan = emptyState();
  const held = createHeld<TableObject>({ idOf, equal });

  function lower(group: string): TableObject[] {
    const settings = plan.settings.get(SETTINGS_KEY);
    if (group === SETTINGS) return baseObjects(settings);
    const frontend = plan.services.get(group);
    return frontend ? lowerFrontend(frontend, settings) : [];
  }

  applyChanges(plan, stateChanges(state));
  for (const group of [SETTINGS, ...plan.services.keys()]) held.replace(group, lower(group));
  held.edits();

  return {
    plan,
    objects: held.objects,
    tails: (family) =>
      new Map(
        [...held.objects().values()].flatMap((object) =>
          object.type === 'chain' && object.family === family && BAGS.has(object.name)
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
      for (const { group, objects } of next) held.replace(group, objects);
      return held.edits();
    },
  };
}
