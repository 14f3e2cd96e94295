/** Where nodes stand, which of them share a bridge, and which link is between two bridges. Pure. */
import type { LinkSettings } from './values.ts';

export interface Place {
  readonly region?: string;
  readonly zone?: string;
  readonly rack?: string;
}

export interface PlacedNode extends Place {
  readonly name: string;
}

/** Between two regions, two zones, or two racks, which are written `zone/rack`. */
export interface PlaceLink extends LinkSettings {
  readonly between: readonly [string, string];
}

/** Nodes on one bridge, at full speed. */
export interface Group extends Place {
  /** `eu-a`, `eu-a/r1`, of nodes with no zone their region; empty for nodes that are nowhere. */
  readonly name: string;
  readonly nodes: readonly string[];
}

export type Level = 'region' | 'zone' | 'rack';

/** A zone is one bridge, unless a link is declared between racks: then each rack of both zones is. */
export function groupsOf(nodes: readonly PlacedNode[], links: readonly PlaceLink[]): Group[] {
  const split = new Set(links.flatMap(({ between }) => between).flatMap((name) => zoneOfRack(name) ?? []));
  const groups = new Map<string, Group & { nodes: string[] }>();
  for (const node of nodes) {
    const { region, zone, rack } = node;
    const own = zone !== undefined && rack !== undefined && split.has(zone) ? rack : undefined;
    const name = own === undefined ? (zone ?? region ?? '') : `${zone}/${own}`;
    const known = groups.get(name);
    if (known) known.nodes.push(node.name);
    else groups.set(name, { name, region, zone, rack: own, nodes: [node.name] });
  }
  return [...groups.values()];
}

export const zoneOfRack = (name: string): string | undefined =>
  name.includes('/') ? name.slice(0, name.indexOf('/')) : undefined;

/** The narrowest link counts: of racks before zones before regions. Undefined: as fast as the machine is. */
export function linkBetween<T extends PlaceLink>(a: Group, b: Group, links: readonly T[]): T | undefined {
  const names = (group: Group): (string | undefined)[] => [
    group.rack === undefined ? undefined : `${group.zone}/${group.rack}`,
    group.zone,
    group.region,
  ];
  const [left, right] = [names(a), names(b)];
  for (const [i, one] of left.entries()) {
    const other = right[i];
    if (one === undefined || other === undefined || one === other) continue;
    const found = links.find(
      ({ between: [x, y] }) => (x === one && y === other) || (x === other && y === one),
    );
    if (found) return found;
  }
  return undefined;
}

export type Places = ReadonlyMap<string, Level>;

/** Every place that a link can name, and what it is. */
export function placesOf(nodes: readonly PlacedNode[]): Places {
  const places = new Map<string, Level>();
  for (const { region, zone, rack } of nodes) {
    if (region !== undefined) places.set(region, 'region');
    if (zone !== undefined) places.set(zone, 'zone');
    if (zone !== undefined && rack !== undefined) places.set(`${zone}/${rack}`, 'rack');
  }
  return places;
}

export interface PlaceProblem {
  /** Of the node. */
  readonly index: number;
  readonly field: Level;
  readonly message: string;
}

/** What is wrong with the places of nodes. */
export function placeProblems(nodes: readonly PlacedNode[]): PlaceProblem[] {
  const regionOf = new Map<string, string | undefined>();
  const regions = new Set(nodes.flatMap(({ region }) => region ?? []));
  return nodes.flatMap(({ region, zone, rack }, index): PlaceProblem[] => {
    if (rack !== undefined && zone === undefined)
      return [{ index, field: 'rack', message: `rack "${rack}" is in no zone; expected a zone beside it` }];
    if (zone === undefined) return [];
    if (regions.has(zone))
      return [{ index, field: 'zone', message: `"${zone}" is a region too; expected names that differ` }];
    const first = regionOf.has(zone) ? regionOf.get(zone) : region;
    regionOf.set(zone, first);
    if (first === region) return [];
    const shown = (name: string | undefined) => (name === undefined ? 'no region' : `the region "${name}"`);
    const message = `zone "${zone}" is in ${shown(first)} and here in ${shown(region)}; expected one of the two`;
    return [{ index, field: 'zone', message }];
  });
}

/** What is wrong with the ends of a link; undefined where nothing is. */
export function betweenProblem(between: readonly [string, string], places: Places): string | undefined {
  const [a, b] = between;
  const known =
    [...places.keys()].map((name) => `"${name}"`).join(', ') || 'none: no node has a zone or region';
  const stranger = between.find((name) => !places.has(name));
  if (stranger !== undefined) return `"${stranger}" is no place of a node; expected two of ${known}`;
  if (a === b) return `"${a}" has no link to itself; expected two places`;
  if (places.get(a) !== places.get(b))
    return `"${a}" is a ${places.get(a)} and "${b}" a ${places.get(b)}; expected two of a kind`;
  return undefined;
}

/** Of two links with the same ends only one can count. */
export const sameEnds = (x: PlaceLink['between'], y: PlaceLink['between']): boolean =>
  (x[0] === y[0] && x[1] === y[1]) || (x[0] === y[1] && x[1] === y[0]);
