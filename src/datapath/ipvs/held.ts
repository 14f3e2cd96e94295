/** Objects of a table by who needs them: an object is there as long as anybody does. */
import type { Edit } from '../nftables/diff.ts';
import { equal, idOf, type KernelObject, type KernelState } from '../nftables/objects.ts';

export interface Held {
  /** What `group` needs from now on; what that changes. */
  replace(group: string, objects: readonly KernelObject[]): void;
  /** What has changed since it was last asked. */
  edits(): Edit[];
  objects(): KernelState;
}

export function createHeld(): Held {
  const groups = new Map<string, readonly KernelObject[]>();
  const held = new Map<string, { object: KernelObject; uses: number }>();
  /** As they were at the last `edits`. */
  const before = new Map<string, KernelObject | undefined>();

  function remember(id: string): void {
    if (!before.has(id)) before.set(id, held.get(id)?.object);
  }

  return {
    replace(group, objects) {
      for (const object of objects) {
        const id = idOf(object);
        remember(id);
        held.set(id, { object, uses: (held.get(id)?.uses ?? 0) + 1 });
      }
      for (const object of groups.get(group) ?? []) {
        const id = idOf(object);
        remember(id);
        const entry = held.get(id);
        if (entry && --entry.uses === 0) held.delete(id);
      }
      if (objects.length === 0) groups.delete(group);
      else groups.set(group, objects);
    },
    edits() {
      const list = [...before].flatMap(([id, was]) => {
        const now = held.get(id)?.object;
        if (was === undefined && now === undefined) return [];
        return was && now && equal(was, now) ? [] : [{ before: was, after: now }];
      });
      before.clear();
      return list;
    },
    objects: () => new Map([...held].map(([id, { object }]) => [id, object])),
  };
}
