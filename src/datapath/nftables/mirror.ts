/**
 * What the kernel should hold: the plan's entries as they were given, and the objects that they come to. One
 * object may be needed by many groups (`balance4-3`), so uses are counted.
 */
import { applyChanges, type Change, emptyState, type PlanState, stateChanges } from '../plan/tables.ts';
import { createHeld } from '../held.ts';
import { baseObjects, type TableUse } from './base.ts';
import { type Edit } from './diff.ts';
import { groupOf, groupsOf, type Lowering, lowerGroup } from './lower.ts';
import type { SlotsOf } from './lower-services.ts';
import { mark } from './names.ts';
import { elementId, equal, idOf, type KernelObject, type KernelState } from './objects.ts';

export interface Mirror {
  /**
   * Writes changes in; what they change in the kernel's table.
   * @param nodes others, whose link addresses are not what they were
   */
  update(changes: readonly Change[], nodes?: readonly string[]): Edit[];
  readonly plan: PlanState;
  objects(): KernelState;
}

/** @param kernel what the kernel holds now: backends keep the slots they have there. */
export function createMirror(
  state: PlanState,
  kernel: KernelState,
  { services = true, relayed = false, linkAddresses = false }: Partial<TableUse> = {},
  macOf: Lowering['macOf'] = () => undefined,
): Mirror {
  const plan = emptyState();
  const held = createHeld<KernelObject>({ idOf, equal });
  const use = { services, relayed, linkAddresses, macOf };
  const now = { ...use, slotsOf: slotsIn(held.find) };
  const then = { ...use, slotsOf: slotsIn((id) => kernel.get(id)) };

  held.replace('base', baseObjects({ services, relayed }));
  applyChanges(plan, stateChanges(state));
  for (const group of new Set(['settings node', ...groupsOf(plan)]))
    held.replace(group, lowerGroup(plan, group, then));
  held.edits();

  return {
    plan,
    objects: held.objects,
    update(changes, nodes = []) {
      applyChanges(plan, changes);
      const touched = new Set(
        [...changes, ...nodes.map((key) => ({ table: 'routes', key }) as const)].map(groupOf),
      );
      const next = [...touched].map((group) => ({ group, objects: lowerGroup(plan, group, now) }));
      for (const { group, objects } of next) held.replace(group, objects);
      return held.edits();
    },
  };
}

/** Slots in use: those that a state has elements for. */
const slotsIn =
  (find: (id: string) => KernelObject | undefined): SlotsOf =>
  (set, frontend, first, count) => {
    const slots: (string | undefined)[] = [];
    for (let slot = 0; ; slot++) {
      const object = find(elementId(set, `${frontend} . ${mark(first + slot)}`));
      if (object?.type === 'element') slots[slot] = object.value;
      // One hole is somebody's damage; the backends above it stay where they are.
      else if (slot > count) return slots;
      else slots[slot] = undefined;
    }
  };
