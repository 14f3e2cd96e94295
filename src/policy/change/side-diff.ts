/** How much a change of one policy opens and closes at the pods it selects, whatever the other end says. */
import type { Family } from '../../lib/ip.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import type { PolicyObject } from '../objects.ts';
import type { Estate, Workload } from '../analyse/estate.ts';
import { createExternals, type Externals } from '../analyse/externals.ts';
import { externalSpans } from '../analyse/connectivity.ts';
import { createPortSets, type PortSet, type PortSets } from '../analyse/port-set.ts';
import { createSides, type Sides } from '../analyse/sides.ts';

/**
 * Counts pairs of a selected workload and a peer (a workload, or a range of addresses), times ports, that pass only
 * before or only afterwards: 1 is one connection on one port.
 */
export function differenceAt(
  estate: Estate,
  policies: readonly PolicyObject[],
  direction: Direction,
  policy: PolicyRef,
  family: Family,
): number {
  const { sets, sides: before, externals: was } = sidesBefore(estate, family);
  const after = createSides({ ...estate, world: { ...estate.world, policies } }, { sets, family });
  const is = createExternals(after);
  let count = 0;
  for (const workload of estate.workloads) {
    if (!isSelected(after, workload, direction, policy)) continue;
    for (const other of estate.workloads)
      if (other !== workload)
        count += difference(
          sets,
          passed(before, workload, other, direction),
          passed(after, workload, other, direction),
        );
    count += differenceOutside(before, after, [was, is], workload, direction);
  }
  return count;
}

interface Before {
  readonly sets: PortSets;
  readonly sides: Sides;
  readonly externals: Externals;
}

/** Many candidates are compared with one world. */
const known = new WeakMap<Estate, Map<Family, Before>>();

function sidesBefore(estate: Estate, family: Family): Before {
  const byFamily = known.get(estate) ?? new Map<Family, Before>();
  known.set(estate, byFamily);
  const found = byFamily.get(family);
  if (found) return found;
  const sets = createPortSets();
  const sides = createSides(estate, { sets, family });
  const made = { sets, sides, externals: createExternals(sides) };
  byFamily.set(family, made);
  return made;
}

const isSelected = (sides: Sides, workload: Workload, direction: Direction, policy: PolicyRef): boolean =>
  sides
    .units(workload)
    .some(({ roles }) =>
      roles[direction]?.policies.some(
        ({ ref }) =>
          ref.kind === policy.kind && ref.namespace === policy.namespace && ref.name === policy.name,
      ),
    );

function passed(sides: Sides, here: Workload, there: Workload, direction: Direction): PortSet {
  let set = sides.sets.none;
  for (const { ports, node } of sides.units(here))
    if (node === undefined)
      for (const { peer } of sides.units(there)) set = sides.sets.or(set, ports[direction](peer));
  return set;
}

/** Each range that differs counts, and more so if it is of more than one address. */
function differenceOutside(
  before: Sides,
  after: Sides,
  [was, is]: readonly [Externals, Externals],
  workload: Workload,
  direction: Direction,
): number {
  const { sets } = before;
  const old = externalSpans(before, was, workload, direction);
  let count = 0;
  for (const { first, last, set } of externalSpans(after, is, workload, direction))
    for (const span of old) {
      if (span.last < first || span.first > last) continue;
      const [from, to] = [span.first > first ? span.first : first, span.last < last ? span.last : last];
      count += difference(sets, span.set, set) * (from === to ? 1 : 2);
    }
  return count;
}

const difference = (sets: PortSets, a: PortSet, b: PortSet): number =>
  a === b ? 0 : size(sets.minus(a, b)) + size(sets.minus(b, a));

const size = ({ ranges }: PortSet): number =>
  ranges.flat().reduce((sum, [first, last]) => sum + last - first + 1, 0);
