/**
 * What the kernel should hold: the plan's entries as they were given, and the objects that they come to. One
 * object may be needed by many groups (`balance4-3`), so uses are counted.
 */
import { applyChanges, type Change, emptyState, type PlanState, stateChanges } from '../plan/tables.ts';
import { baseObjects, type TableUse } from './base.ts';
import { type Edit } from './diff.ts';
import { type Group, groupOf, groupsOf, lowerGroup } from './lower.ts';
import type { SlotsOf } from './lower-services.ts';
import { mark } from './names.ts';
import { elementId, equal, idOf, type KernelObject, type KernelState } from './objects.ts';

export interface Mirror {
  /** Writes changes in; what they change in the kernel's table. */
  update(changes: readonly Change[]): Edit[];
  readonly plan: PlanState;
  objects(): KernelState;
}

interface Held {
  readonly object: KernelObject;
  uses: number;
}

/** @param kernel what the kernel holds now: backends keep the slots they have there. */
export function createMirror(
  state: PlanState,
  kernel: KernelState,
  { services = true, relayed = false }: Partial<TableUse> = {},
): Mirror {
  const plan = emptyState();
  const groups = new Map<Group, readonly KernelObject[]>();
  const held = new Map<string, Held>();

  function hold(objects: readonly KernelObject[]): void {
    for (const object of objects) {
      const id = idOf(object);
      const before = held.get(id);
      held.set(id, { object, uses: (before?.uses ?? 0) + 1 });
    }
  }

  function release(objects: readonly KernelObject[]): void {
    for (const object of objects) {
      const id = idOf(object);
      const entry = held.get(id);
      if (entry && --entry.uses === 0) held.delete(id);
    }
  }

  function regroup(group: Group, after: readonly KernelObject[]): void {
    const before = groups.get(group) ?? [];
    hold(after);
    release(before);
    if (after.length === 0) groups.delete(group);
    else groups.set(group, after);
  }

  const now = { services, slotsOf: slotsIn((id) => held.get(id)?.object) };
  const then = { services, slotsOf: slotsIn((id) => kernel.get(id)) };

  hold(baseObjects({ services, relayed }));
  applyChanges(plan, stateChanges(state));
  for (const group of new Set(['settings node', ...groupsOf(plan)]))
    regroup(group, lowerGroup(plan, group, then));

  return {
    plan,
    objects: () => new Map([...held].map(([id, { object }]) => [id, object])),
    update(changes) {
      applyChanges(plan, changes);
      const touched = new Set(changes.map(groupOf));
      const next = [...touched].map((group) => ({ group, objects: lowerGroup(plan, group, now) }));
      const before = new Map<string, KernelObject | undefined>();
      for (const { group, objects } of next)
        for (const object of [...(groups.get(group) ?? []), ...objects])
          before.set(idOf(object), held.get(idOf(object))?.object);
      for (const { group, objects } of next) regroup(group, objects);
      return [...before].flatMap(([id, was]) => {
        const now = held.get(id)?.object;
        if (was === undefined && now === undefined) return [];
        return was && now && equal(was, now) ? [] : [{ before: was, after: now }];
      });
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
