/** Which rule comes first on which port, in near linear time. */
import type { IcmpMatch, PortRange, ProtocolMatch } from './model.ts';

export interface Segments {
  readonly protocol: PortRange['protocol'];
  /** Ascending; segment i goes up to the start after it. Every range of a rule begins and ends at one. */
  readonly starts: readonly number[];
  readonly position: ReadonlyMap<number, number>;
}

interface Painting {
  /** Null = everything. */
  readonly ports: readonly (PortRange | IcmpMatch | ProtocolMatch)[] | null;
}

/** By segment: the place of the first rule of this kind that has it, or -1. Painted segments are skipped by pointers. */
export function paint<T extends Painting>(
  rules: readonly T[],
  isOf: (rule: T) => boolean,
  { protocol, starts, position }: Segments,
): Int32Array {
  const count = starts.length - 1;
  const colour = new Int32Array(count).fill(-1);
  const next = Int32Array.from({ length: count + 1 }, (_, i) => i);
  const free = (i: number): number => {
    let at = i;
    while (next[at] !== at) {
      next[at] = next[next[at]!]!;
      at = next[at]!;
    }
    return at;
  };
  const fill = (place: number, from: number, to: number): void => {
    for (let i = free(from); i < to; i = free(i)) {
      colour[i] = place;
      next[i] = i + 1;
    }
  };
  for (const [place, rule] of rules.entries()) {
    if (!isOf(rule)) continue;
    if (rule.ports === null) {
      fill(place, 0, count);
      break;
    }
    for (const range of rule.ports)
      if ('first' in range && range.protocol === protocol)
        fill(place, position.get(range.first)!, position.get(range.last + 1)!);
  }
  return colour;
}
