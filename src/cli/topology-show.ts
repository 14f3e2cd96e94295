/** What `heddle topology show` says: links as asked, as measured, and what they carried. */
import type { PlaceLink } from '../cluster/lines/places.ts';
import { linkBetween } from '../cluster/lines/places.ts';
import { linesStatus } from '../cluster/lines/client.ts';
import type { PairCounters } from '../cluster/lines/switch.ts';
import { type LinkSettings, settingsText } from '../cluster/lines/values.ts';
import type { Agents } from './datapath-nodes.ts';
import { plainTable } from './plain-table.ts';

export interface TopologyOutput {
  readonly groups: readonly { readonly name: string; readonly nodes: readonly string[] }[];
  readonly links: readonly LinkRow[];
}

export interface LinkRow {
  readonly between: readonly [string, string];
  /** The link that counts; null where there is none. */
  readonly asked: LinkSettings | null;
  readonly declaredBetween: readonly [string, string] | null;
  /** Milliseconds, there and back, of small packets between two nodes; null where none was measured, or answered. */
  readonly roundTrip: {
    readonly from: string;
    readonly to: string;
    readonly sent: number;
    readonly answered: number;
    readonly least: number | null;
    readonly median: number | null;
  } | null;
  readonly carried: readonly PairCounters[];
}

const ROUND_TRIPS = 10;
/** Milliseconds beyond what was asked. */
const PATIENCE = 3000;

export async function gatherTopology(
  agents: Agents,
  { measure }: { measure: boolean },
): Promise<TopologyOutput> {
  const { config, paths } = agents;
  const groups = config.topology?.groups ?? [{ name: '', nodes: config.nodes.map(({ name }) => name) }];
  if (!config.topology) return { groups, links: [] };
  const { links } = await linesStatus(paths);
  const pairs = groups.flatMap((a, i) => groups.slice(i + 1).map((b) => [a, b] as const));
  const rows = await Promise.all(
    pairs.map(async ([a, b]): Promise<LinkRow> => {
      const link: PlaceLink | undefined = linkBetween(a, b, links);
      const { between = null, ...asked } = link ?? {};
      return {
        between: [a.name, b.name],
        asked: link ? asked : null,
        declaredBetween: between,
        roundTrip: measure ? await roundTrip(agents, a.nodes[0] ?? '', b.nodes[0] ?? '', link ?? {}) : null,
        carried: [],
      };
    }),
  );
  // Afterwards: what was measured is counted.
  const { counters } = await linesStatus(paths);
  const carried = ({ between }: LinkRow) =>
    counters.filter(({ from, to }) => between.includes(from) && between.includes(to));
  return {
    groups: groups.map(({ name, nodes }) => ({ name, nodes })),
    links: rows.map((row) => ({ ...row, carried: carried(row) })),
  };
}

async function roundTrip(
  agents: Agents,
  from: string,
  to: string,
  { latency = 0, jitter = 0 }: LinkSettings,
): Promise<LinkRow['roundTrip']> {
  const { roundTrips } = await agents.askOne<{ roundTrips: number[] }>(
    from,
    `/paths?node=${encodeURIComponent(to)}&round-trips=${ROUND_TRIPS}&timeout=${Math.ceil(PATIENCE + 2 * (latency + jitter))}`,
  );
  const sorted = roundTrips.toSorted((a, b) => a - b);
  const rounded = (ms: number | undefined) => (ms === undefined ? null : Number(ms.toFixed(2)));
  return {
    from,
    to,
    sent: ROUND_TRIPS,
    answered: sorted.length,
    least: rounded(sorted[0]),
    median: rounded(sorted[Math.floor(sorted.length / 2)]),
  };
}

export function topologyText({ groups, links }: TopologyOutput): string {
  const shown = (name: string) => name || '(nowhere)';
  const places = groups.map(({ name, nodes }) => [shown(name), nodes.join(', ')]);
  const lines = [...plainTable([['PLACE', 'NODES'], ...places]), ''];
  if (links.length === 0) lines.push('all nodes share one bridge');
  else
    lines.push(
      ...plainTable([
        ['LINK', 'ASKED, ONE WAY', 'MEASURED, THERE AND BACK', 'DROPPED', 'LATE'],
        ...links.map(({ between, asked, roundTrip: trip, carried }) => [
          between.map(shown).join(' – '),
          asked ? settingsText(asked) : 'no link',
          tripText(trip),
          droppedText(carried),
          lateText(carried),
        ]),
      ]),
    );
  return `${lines.join('\n')}\n`;
}

function tripText(trip: LinkRow['roundTrip']): string {
  if (!trip) return 'not measured';
  const { sent, answered, least, median, from, to } = trip;
  if (answered === 0) return `no answer to ${sent} (${from} to ${to})`;
  const lost = answered < sent ? `, ${sent - answered} of ${sent} lost` : '';
  return `${median} ms, at least ${least} ms${lost} (${from} to ${to})`;
}

function droppedText(carried: readonly PairCounters[]): string {
  const sum = (field: 'lost' | 'overflowed' | 'tooLong') =>
    carried.reduce((all, each) => all + each[field], 0);
  const parts = [
    [sum('lost'), 'lost'],
    [sum('overflowed'), 'no room'],
    [sum('tooLong'), 'too long'],
  ].flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`]));
  return parts.join(', ') || 'none';
}

/** What a busy machine added to each frame that waited. */
function lateText(carried: readonly PairCounters[]): string {
  const frames = carried.reduce((all, each) => all + each.frames, 0);
  const late = carried.reduce((all, each) => all + each.late, 0);
  return frames === 0 ? '' : `${(late / frames).toFixed(2)} ms`;
}
