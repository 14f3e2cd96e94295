/** Programs at links of a node, found again by their pins: `<hook>-<index of the link>`. */
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { isLink, linkInfo } from '../../kernel/bpf/link.ts';
import { attachTc, detachTc, type Direction } from '../../kernel/bpf/links.ts';
import { getPinned, objectInfo } from '../../kernel/bpf/syscall.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Programs } from './loader.ts';

export interface Hook {
  readonly name: string;
  readonly program: string;
  readonly direction: Direction;
}

/** A hook at a link. */
export interface Place {
  readonly hook: Hook;
  /** Of the link. */
  readonly index: number;
}

export interface HookPins {
  /** Or replaces what is attached. True where nothing was. */
  attach(place: Place): boolean;
  isAttached(place: Place): boolean;
  /** Whether the hook's program is what runs there, not one of an earlier or another build. */
  runs(place: Place): boolean;
  /** Where these hooks were attached, by earlier runs too. */
  all(): Place[];
  detach(place: Place): void;
  /** Of `all()`, those that are not among these. */
  detachBut(places: readonly Place[]): void;
}

/** @param ns of the node */
export function createHookPins(
  programs: Pick<Programs, 'program' | 'linkPath'>,
  ns: Netns,
  hooks: readonly Hook[],
): HookPins {
  const folder = dirname(programs.linkPath('x'));
  const fileOf = ({ hook, index }: Place) => `${hook.name}-${index}`;
  const at = (place: Place) => ({
    ifindex: place.index,
    ns,
    direction: place.hook.direction,
    pinPath: join(folder, fileOf(place)),
  });

  const all = (): Place[] =>
    fs.readdirSync(folder).flatMap((file) => {
      const words = /^(.+)-(\d+)$/.exec(file);
      const hook = hooks.find(({ name }) => name === words?.[1]);
      return hook ? [{ hook, index: Number(words?.[2]) }] : [];
    });

  const detach = (place: Place): void => void detachTc(at(place));

  return {
    attach: (place) => attachTc({ ...at(place), program: programs.program(place.hook.program) }).created,
    isAttached: (place) => programAt(at(place)) !== undefined,
    runs: (place) => programAt(at(place)) === idOf(programs.program(place.hook.program)),
    all,
    detach,
    detachBut(places) {
      const kept = new Set(places.map(fileOf));
      for (const place of all()) if (!kept.has(fileOf(place))) detach(place);
    },
  };
}

/** Number of the program that the pin holds at the link; undefined: none. */
function programAt({ pinPath, ifindex }: { pinPath: string; ifindex: number }): number | undefined {
  const fd = getPinned(pinPath);
  if (fd === undefined) return undefined;
  try {
    // A pin of clsact is the program's own.
    if (!isLink(fd)) return idOf(fd);
    const link = linkInfo(fd);
    return link.ifindex === ifindex ? link.programId : undefined;
  } finally {
    fs.closeSync(fd);
  }
}

/** `struct bpf_prog_info` */
const idOf = (program: number): number => objectInfo(program).getUint32(4, true);
