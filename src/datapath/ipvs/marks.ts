/** Firewall marks that stand for frontends: the same one at each start, and never the same for two. */

/** First byte of all of them, so that a mark of ours is known in the kernel's list. */
const OURS = 0x48000000;
const ROOM = 0x00ffffff;

export const isOurs = (mark: number): boolean => (mark & ~ROOM) === OURS;

export interface Marks {
  of(frontend: string): number;
  release(frontend: string): void;
}

export function createMarks(): Marks {
  const marks = new Map<string, number>();
  const taken = new Set<number>();
  return {
    of(frontend) {
      const known = marks.get(frontend);
      if (known !== undefined) return known;
      let mark = hash(frontend);
      while (taken.has(mark)) mark = (mark + 1) & ROOM;
      taken.add(mark);
      marks.set(frontend, OURS | mark);
      return OURS | mark;
    },
    release(frontend) {
      const mark = marks.get(frontend);
      if (mark === undefined) return;
      taken.delete(mark & ROOM);
      marks.delete(frontend);
    },
  };
}

/** FNV-1a, folded. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return ((value >>> 24) ^ value) & ROOM;
}
