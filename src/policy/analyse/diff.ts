/** How who-reaches-whom differs between two worlds. */
import type { Family } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import {
  type ConnectionOutput,
  externalSpans,
  type Party,
  partyOutput,
  rangeOf,
  reachOf,
} from './connectivity.ts';
import { compareWorkloads, type Estate, type Workload, workloadKey } from './estate.ts';
import { createExternals, type Externals, type Span } from './externals.ts';
import { type Allowed, allowedOf, createPortSets, type PortSet, type PortSets } from './port-set.ts';
import { createSides, type Sides, type Unit } from './sides.ts';

export interface Change {
  readonly src: Party;
  readonly dst: Party;
  /** Empty where there was no connection. Never equal to `after`. */
  readonly before: PortSet;
  readonly after: PortSet;
}

export type ChangeKind = 'added' | 'removed' | 'changed';

export interface DiffOptions {
  readonly family?: Family | undefined;
  readonly sets?: PortSets;
  /** Only connections of these, by `workloadKey`. */
  readonly focus?: ReadonlySet<string>;
}

interface WorldSide {
  readonly sides: Sides;
  readonly externals: Externals;
  readonly byKey: ReadonlyMap<string, Workload>;
}

/** Workloads are the same if namespace, kind and name are. Ordered as connectivity is. */
export function* diff(before: Estate, after: Estate, options: DiffOptions = {}): Generator<Change> {
  const { sets = createPortSets(), family, focus } = options;
  const [old, now] = [before, after].map((estate): WorldSide => {
    const sides = createSides(estate, { sets, family });
    const byKey = new Map(estate.workloads.map((each) => [workloadKey(each), each]));
    return { sides, externals: createExternals(sides), byKey };
  }) as [WorldSide, WorldSide];
  const all = [...new Map([...old.byKey, ...now.byKey])]
    .map(([key, workload]) => ({
      workload,
      inFocus: focus?.has(key) ?? true,
      was: old.byKey.get(key),
      is: now.byKey.get(key),
      units: { was: unitsOf(old, key), is: unitsOf(now, key) },
    }))
    .sort((a, b) => compareWorkloads(a.workload, b.workload));
  for (const src of all)
    for (const dst of all) {
      if (src === dst || !(src.inFocus || dst.inFocus)) continue;
      const was = reachOf(old.sides, src.units.was, dst.units.was);
      const is = reachOf(now.sides, src.units.is, dst.units.is);
      if (was !== is) yield { src: src.workload, dst: dst.workload, before: was, after: is };
    }
  for (const direction of ['ingress', 'egress'] as const)
    for (const { workload, was, is, inFocus } of all) {
      if (!inFocus) continue;
      for (const { before: had, after: has, ...span } of spanChanges(old, now, was, is, direction)) {
        const range = rangeOf(span, old.sides.family);
        const [src, dst] = direction === 'ingress' ? [range, workload] : [workload, range];
        yield { src, dst, before: had, after: has };
      }
    }
}

/** None where the world has no such workload. */
const unitsOf = ({ sides, byKey }: WorldSide, key: string): readonly Unit[] => {
  const workload = byKey.get(key);
  return workload ? sides.units(workload) : [];
};

type SpanChange = Span & Pick<Change, 'before' | 'after'>;

function spanChanges(
  old: WorldSide,
  now: WorldSide,
  was: Workload | undefined,
  is: Workload | undefined,
  direction: Direction,
): SpanChange[] {
  const { sets } = old.sides;
  const nothing = old.externals(undefined, direction).map((span) => ({ ...span, set: sets.none }));
  const a = was ? externalSpans(old.sides, old.externals, was, direction) : nothing;
  const b = is ? externalSpans(now.sides, now.externals, is, direction) : nothing;
  if (a === b) return [];
  const changes: { first: bigint; last: bigint; before: PortSet; after: PortSet }[] = [];
  for (let i = 0, j = 0, first = 0n; i < a.length && j < b.length; ) {
    const [left, right] = [a[i]!, b[j]!];
    const last = left.last < right.last ? left.last : right.last;
    const same = changes.at(-1);
    if (left.set !== right.set) {
      if (same?.before === left.set && same.after === right.set && same.last === first - 1n) same.last = last;
      else changes.push({ first, last, before: left.set, after: right.set });
    }
    if (left.last === last) i++;
    if (right.last === last) j++;
    first = last + 1n;
  }
  return changes;
}

export function changeKind({ before, after }: Change): ChangeKind {
  const isNone = ({ ranges }: PortSet) => ranges.every((list) => list.length === 0);
  if (isNone(before)) return 'added';
  return isNone(after) ? 'removed' : 'changed';
}

export interface ChangeOutput extends Omit<ConnectionOutput, 'allowed'> {
  readonly change: ChangeKind;
  /** An empty list: no connection. */
  readonly before: Allowed;
  readonly after: Allowed;
}

export const changeOutput = (change: Change): ChangeOutput => ({
  change: changeKind(change),
  src: partyOutput(change.src),
  dst: partyOutput(change.dst),
  before: allowedOf(change.before),
  after: allowedOf(change.after),
});
