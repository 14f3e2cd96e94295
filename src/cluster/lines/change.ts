/** A link of a running cluster that shall be another. Pure. */
import { HeddleError } from '../../lib/errors.ts';
import {
  betweenProblem,
  type Group,
  groupsOf,
  linkBetween,
  type PlacedNode,
  type PlaceLink,
  placesOf,
  sameEnds,
} from './places.ts';
import { type LinkField, type LinkSettings, settingsProblem } from './values.ts';

/** Null takes the setting away. */
export type LinkChanges = Readonly<Partial<Record<LinkField, number | null>>>;

export interface Running {
  readonly nodes: readonly PlacedNode[];
  readonly groups: readonly Group[];
  readonly links: readonly PlaceLink[];
}

export interface AskedChange {
  readonly between: readonly [string, string];
  readonly changes: LinkChanges;
  /** Nothing of what was there stays. */
  readonly clear: boolean;
}

/**
 * All links afterwards. Where a wider link counted so far, the new one begins as that was.
 * @throws HeddleError `BadFlag` where the ends are none, or share a bridge
 */
export function changedLinks(
  { nodes, groups, links }: Running,
  { between, changes, clear }: AskedChange,
): PlaceLink[] {
  const problem = betweenProblem(between, placesOf(nodes));
  if (problem !== undefined) throw new HeddleError('BadFlag', `set ${between.join(' ')}: ${problem}`);
  const others = links.filter((link) => !sameEnds(link.between, between));
  const settings = merged(clear ? {} : effective({ groups, links }, between), changes);
  const wrong = settingsProblem(settings);
  if (wrong !== undefined) throw new HeddleError('BadFlag', `set ${between.join(' ')}: ${wrong}`);
  const after = [...others, { between, ...settings }];
  const names = (all: readonly Group[]) => all.map(({ name }) => name).join(' ');
  if (names(groupsOf(nodes, after)) !== names(groups))
    throw new HeddleError('BadFlag', `set ${between.join(' ')}: these racks share a bridge`, {
      hint: 'declare a link between them in the cluster file, and start the cluster again',
    });
  return after;
}

function effective({ groups, links }: Omit<Running, 'nodes'>, between: AskedChange['between']): LinkSettings {
  const exact = links.find((link) => sameEnds(link.between, between));
  const [a, b] = between.map((end) =>
    groups.find(({ name, zone, region }) => [name, zone, region].includes(end)),
  );
  const { between: _, ...settings } = exact ?? (a && b && linkBetween(a, b, links)) ?? { between };
  return settings;
}

function merged(settings: LinkSettings, changes: LinkChanges): LinkSettings {
  const all = Object.entries({ ...settings, ...changes });
  return Object.fromEntries(all.filter((entry): entry is [string, number] => typeof entry[1] === 'number'));
}
