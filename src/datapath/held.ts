/** Objects of kernel tables by who needs them, and what turns one set of them into another. */

export interface Edit<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/** How objects are told apart. */
export interface Likeness<T> {
  /** The same for objects of which only one can be there. */
  idOf(object: T): string;
  /** Of two with one id. */
  equal(a: T, b: T): boolean;
}

/** Only what differs. */
export function edits<T>(
  { equal }: Pick<Likeness<T>, 'equal'>,
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
): Edit<T>[] {
  const out: Edit<T>[] = [];
  for (const [id, object] of after) {
    const had = before.get(id);
    if (had === undefined || !equal(had, object)) out.push({ before: had, after: object });
  }
  for (const [id, object] of before) if (!after.has(id)) out.push({ before: object, after: undefined });
  return out;
}

/** An object is there as long as any group needs it. */
export interface Held<T> {
  /** What `group` needs from now on. */
  replace(group: string, objects: readonly T[]): void;
  /** What has changed since it was last asked. */
  edits(): Edit<T>[];
  find(id: string): T | undefined;
  objects(): ReadonlyMap<string, T>;
}

export function createHeld<T>({ idOf, equal }: Likeness<T>): Held<T> {
  const groups = new Map<string, readonly T[]>();
  const held = new Map<string, { object: T; uses: number }>();
  /** As they were at the last `edits`. */
  const before = new Map<string, T | undefined>();
  const find = (id: string): T | undefined => held.get(id)?.object;

  return {
    replace(group, objects) {
      const had = groups.get(group) ?? [];
      for (const id of [...had, ...objects].map(idOf)) if (!before.has(id)) before.set(id, find(id));
      for (const object of objects) {
        const id = idOf(object);
        held.set(id, { object, uses: (held.get(id)?.uses ?? 0) + 1 });
      }
      for (const id of had.map(idOf)) {
        const entry = held.get(id);
        if (entry && --entry.uses === 0) held.delete(id);
      }
      if (objects.length === 0) groups.delete(group);
      else groups.set(group, objects);
    },
    edits() {
      const list = [...before].flatMap(([id, was]) => {
        const now = find(id);
        if (was === undefined && now === undefined) return [];
        return was !== undefined && now !== undefined && equal(was, now) ? [] : [{ before: was, after: now }];
      });
      before.clear();
      return list;
    },
    find,
    objects: () => new Map([...held].map(([id, { object }]) => [id, object])),
  };
}
