/** Stretches of ports on which the same rules are, by one sweep over the ends of their ranges. */
import type { PlainPort } from '../entries.ts';
import type { PortProtocol } from '../world.ts';

/** Ports of a rule, by its place; null = everything. */
export interface PlacePorts {
  readonly place: number;
  readonly ports: readonly PlainPort[] | null;
}

export interface Stretch {
  readonly first: number;
  readonly last: number;
  /** Ascending. Good until the next stretch. */
  readonly places: readonly number[];
}

/** Those of which a range says anything, the lowest first. */
export function* stretchesOf(rules: readonly PlacePorts[], protocol: PortProtocol): Generator<Stretch> {
  const ends = endsOf(rules, protocol);
  const active = openPlaces(rules);
  const counts = new Map<number, number>();
  let start = 0;
  for (const [i, { port, place, by }] of ends.entries()) {
    if (i > 0 && start < port && counts.size > 0) yield { first: start, last: port - 1, places: active };
    start = port;
    const count = (counts.get(place) ?? 0) + by;
    if (count > 0) counts.set(place, count);
    else counts.delete(place);
    if (by === 1 && count === 1) active.splice(placeIn(active, place), 0, place);
    if (count === 0) active.splice(placeIn(active, place), 1);
  }
}

/** Of rules for everything. */
export const openPlaces = (rules: readonly PlacePorts[]): number[] =>
  rules.flatMap(({ place, ports }) => (ports === null ? [place] : []));

interface End {
  readonly port: number;
  readonly place: number;
  readonly by: 1 | -1;
}

function endsOf(rules: readonly PlacePorts[], protocol: PortProtocol): End[] {
  const ends: End[] = [];
  for (const { place, ports } of rules)
    for (const range of ports ?? []) {
      if (!('first' in range) || range.protocol !== protocol || range.last < range.first) continue;
      ends.push({ port: range.first, place, by: 1 }, { port: range.last + 1, place, by: -1 });
    }
  return ends.sort((a, b) => a.port - b.port);
}

/** Where it is, or belongs. */
function placeIn(places: readonly number[], place: number): number {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]! < place) low = middle + 1;
    else high = middle;
  }
  return low;
}
