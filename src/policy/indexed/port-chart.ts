/** From which port on which rules may decide, of one protocol. */
import type { Rule } from '../model.ts';
import type { NamedPorts } from '../named-ports.ts';
import type { PortProtocol } from '../world.ts';
import { EVERYBODY } from './peer-sets.ts';
import { rangesOf, readPorts } from './ports.ts';

/** What of a rule says where it is listed. */
export interface Listed {
  readonly rule: Rule;
  readonly set: number;
}

export interface Stretch {
  readonly first: number;
  /** Of rules, ascending. */
  readonly places: readonly number[];
}

/** Places for each rule, in all stretches. */
const ROOM = 32;
const END = 65_536;

/**
 * Stretches of ports, ascending, the first from 0; undefined where they take too much room (many ranges of which each
 * holds the next).
 *
 * @param listed in deciding order
 * @param isAsked by place: no number tells whether the rule is for a port
 */
export function chartPorts(
  listed: readonly Listed[],
  isAsked: readonly boolean[],
  protocol: PortProtocol,
  named: NamedPorts | undefined,
): readonly Stretch[] | undefined {
  const changes = changesOf(listed, protocol, named);
  const stretches: Stretch[] = [];
  const active: number[] = [];
  let room = ROOM * (listed.length + ROOM);
  for (const first of [...changes.keys()].sort((a, b) => a - b)) {
    const { come, gone } = changes.get(first)!;
    for (const place of gone) active.splice(lowerBound(active, place), 1);
    for (const place of come) active.splice(lowerBound(active, place), 0, place);
    room -= active.length;
    if (room < 0) return undefined;
    stretches.push({ first, places: reached(active, listed, isAsked) });
  }
  return stretches;
}

interface Change {
  readonly come: number[];
  readonly gone: number[];
}

/** By port: the rules that begin to speak of it there, and that end. */
function changesOf(
  listed: readonly Listed[],
  protocol: PortProtocol,
  named: NamedPorts | undefined,
): ReadonlyMap<number, Change> {
  const changes = new Map<number, Change>([[0, { come: [], gone: [] }]]);
  const at = (port: number): Change => {
    const change = changes.get(port) ?? { come: [], gone: [] };
    changes.set(port, change);
    return change;
  };
  for (const [place, { rule }] of listed.entries()) {
    const ranges = rangesOf(readPorts(rule.ports, protocol, named));
    for (let i = 0; i < ranges.length; i += 2) {
      at(ranges[i]!).come.push(place);
      if (ranges[i + 1]! + 1 < END) at(ranges[i + 1]! + 1).gone.push(place);
    }
  }
  return changes;
}

/**
 * Without those that others of their tier decide before: of rules for the same peers what is behind one that settles
 * the matter is never reached.
 */
function reached(
  active: readonly number[],
  listed: readonly Listed[],
  isAsked: readonly boolean[],
): number[] {
  const chosen: number[] = [];
  let tier: number | undefined;
  let settled = new Set<number>();
  for (const place of active) {
    const { rule, set } = listed[place]!;
    if (rule.tier !== tier) settled = new Set();
    tier = rule.tier;
    if (settled.has(set) || settled.has(EVERYBODY)) continue;
    chosen.push(place);
    if (!rule.l7 && !isAsked[place]) settled.add(set);
  }
  return chosen;
}

function lowerBound(ascending: readonly number[], value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
