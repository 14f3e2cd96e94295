/**
 * Sets of (protocol, port) over TCP, UDP and SCTP on 1–65535. Equal sets of one `PortSets` are the very same object,
 * so that they are compared and combined by identity.
 */
import type { PortProtocol } from '../world.ts';

export const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const satisfies readonly PortProtocol[];
export const LAST_PORT = 65535;

/** Inclusive. */
export type Interval = readonly [first: number, last: number];

export interface PortSet {
  readonly id: number;
  /** One list for each of PROTOCOLS: ascending, disjoint, never adjacent. */
  readonly ranges: readonly (readonly Interval[])[];
}

export interface PortSets {
  readonly none: PortSet;
  readonly all: PortSet;
  byId(id: number): PortSet;
  /** Of any intervals, in any order; those of no port are dropped. */
  of(ranges: readonly (readonly Interval[])[]): PortSet;
  and(a: PortSet, b: PortSet): PortSet;
  or(a: PortSet, b: PortSet): PortSet;
  minus(a: PortSet, b: PortSet): PortSet;
}

/** Pairs of ids are kept as one number: this many sets at most, which only a hostile world has. */
const ID_LIMIT = 2 ** 26;

export function createPortSets(): PortSets {
  const known = new Map<string, PortSet>();
  const list: PortSet[] = [];
  const intern = (ranges: readonly (readonly Interval[])[]): PortSet => {
    const text = ranges.map((each) => each.join(' ')).join('/');
    const same = known.get(text);
    if (same) return same;
    const set = { id: known.size, ranges };
    known.set(text, set);
    list.push(set);
    return set;
  };
  const none = intern([[], [], []]);
  const all = intern(PROTOCOLS.map(() => [[1, LAST_PORT] as const]));
  const memo = (combine: (a: readonly Interval[], b: readonly Interval[]) => Interval[]) => {
    const results = new Map<number, PortSet>();
    return (a: PortSet, b: PortSet): PortSet => {
      const key = a.id * ID_LIMIT + b.id;
      let result = results.get(key);
      if (!result) {
        result = intern(a.ranges.map((list, i) => combine(list, b.ranges[i]!)));
        results.set(key, result);
      }
      return result;
    };
  };
  const [and, or, minus] = [memo(intersect), memo(unite), memo(subtract)];
  return {
    none,
    all,
    byId: (id) => list[id]!,
    of: (ranges) => intern(PROTOCOLS.map((_, i) => unite(clip(ranges[i] ?? []), []))),
    and: (a, b) => (a === all || a === b || b === none ? b : b === all || a === none ? a : and(a, b)),
    or: (a, b) => (a === all || b === none || a === b ? a : b === all || a === none ? b : or(a, b)),
    minus: (a, b) => (b === none ? a : a === none || b === all || a === b ? none : minus(a, b)),
  };
}

const clip = (list: readonly Interval[]): Interval[] =>
  list
    .map(([first, last]): Interval => [Math.max(1, first), Math.min(LAST_PORT, last)])
    .filter(([first, last]) => first <= last);

function intersect(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [[af, al], [bf, bl]] = [a[i]!, b[j]!];
    if (Math.max(af, bf) <= Math.min(al, bl)) result.push([Math.max(af, bf), Math.min(al, bl)]);
    if (al < bl) i++;
    else j++;
  }
  return result;
}

function unite(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const result: [number, number][] = [];
  for (const [first, last] of [...a, ...b].sort(([x], [y]) => x - y)) {
    const before = result.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}

function subtract(a: readonly Interval[], b: readonly Interval[]): Interval[] {
  const result: Interval[] = [];
  for (const [first, last] of a) {
    let from = first;
    for (const [cutFirst, cutLast] of b) {
      if (cutLast < from || cutFirst > last) continue;
      if (cutFirst > from) result.push([from, cutFirst - 1]);
      from = cutLast + 1;
    }
    if (from <= last) result.push([from, last]);
  }
  return result;
}

/** `"all"`, or the protocols that have a port. */
export type Allowed = 'all' | readonly AllowedPorts[];

export interface AllowedPorts {
  readonly protocol: PortProtocol;
  readonly ports: readonly Interval[];
}

const isFull = (list: readonly Interval[]): boolean =>
  list.length === 1 && list[0]![0] === 1 && list[0]![1] === LAST_PORT;

export function allowedOf({ ranges }: PortSet): Allowed {
  if (ranges.every(isFull)) return 'all';
  return PROTOCOLS.flatMap((protocol, i) => (ranges[i]!.length > 0 ? [{ protocol, ports: ranges[i]! }] : []));
}

/** `all ports`, `TCP 80,443,8000-8100; UDP`, `nothing` */
export function portSetText({ ranges }: PortSet): string {
  if (ranges.every(isFull)) return 'all ports';
  const parts = PROTOCOLS.flatMap((protocol, i) => {
    const list = ranges[i]!;
    if (list.length === 0) return [];
    if (isFull(list)) return [protocol];
    return [`${protocol} ${list.map(([f, l]) => (f === l ? `${f}` : `${f}-${l}`)).join(',')}`];
  });
  return parts.join('; ') || 'nothing';
}

/** The least port of the set, by protocol first; undefined of none. */
export function firstPort({ ranges }: PortSet): { protocol: PortProtocol; port: number } | undefined {
  for (const [i, protocol] of PROTOCOLS.entries()) {
    const first = ranges[i]![0];
    if (first) return { protocol, port: first[0] };
  }
  return undefined;
}
