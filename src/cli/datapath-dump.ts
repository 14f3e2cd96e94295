/** `heddle datapath dump`: tables of the data path as people read them. */
import { DUMP_NAMES, type DumpName, type DumpRows, type Dumps } from '../datapath/dump/dump.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Agents } from './datapath-nodes.ts';
import { plainTable } from './plain-table.ts';

export interface DumpFlags {
  namespace?: string;
  service?: string;
  pod?: string;
}

type OfNode<T> = T & { readonly node: string };
export type DumpOutput = { readonly [N in DumpName]?: readonly OfNode<Dumps[N]>[] };

/** @throws HeddleError `BadFlag` */
export function dumpNames(word: string): readonly DumpName[] {
  if (word === 'all') return DUMP_NAMES;
  const name = DUMP_NAMES.find((each) => each === word);
  if (name) return [name];
  throw new HeddleError('BadFlag', `dump "${word}": expected ${[...DUMP_NAMES, 'all'].join(', ')}`);
}

/** Rows of every node, with its name. */
export async function gatherDumps(
  names: readonly DumpName[],
  agents: Agents,
  flags: DumpFlags,
): Promise<DumpOutput> {
  const query = new URLSearchParams(
    Object.entries(flags).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
  const tables: Record<string, unknown[]> = {};
  for (const name of names) {
    const answers = await agents.ask<object[]>(
      `/datapath/dump/${name}${query.size > 0 ? `?${query.toString()}` : ''}`,
    );
    tables[name] = answers.flatMap(({ node, answer }) => answer.map((row) => ({ node, ...row })));
  }
  return tables;
}

type Columns<T> = readonly (readonly [string, (row: T) => string | number | null])[];

const list = (values: readonly string[], most = 3): string =>
  values.length <= most ? values.join(',') : `${values.slice(0, most).join(',')},… (${values.length})`;
const percent = (share: number): string => `${Math.round(share * 1000) / 10}%`;

const columns: { readonly [N in DumpName]: Columns<Dumps[N]> } = {
  services: [
    ['SERVICE', (row) => row.service],
    ['KIND', (row) => row.kind],
    ['ADDRESS', (row) => row.address],
    ['PORT', (row) => `${row.port}/${row.protocol}`],
    ['ALGORITHM', (row) => row.algorithm],
    ['AFFINITY', (row) => (row.affinitySeconds === null ? null : `${row.affinitySeconds}s`)],
    ['BACKENDS', (row) => row.backends],
    ['OUTSIDE', (row) => row.externalBackends],
    ['EMPTY', (row) => row.whenEmpty],
    ['FORWARDING', (row) => row.forwarding],
    ['SOURCES', (row) => (row.sourceRanges ? list(row.sourceRanges) || 'nobody' : null)],
  ],
  backends: [
    ['SERVICE', (row) => row.service],
    ['FRONTEND', (row) => row.frontend.replaceAll('|', ' ')],
    ['BACKEND', (row) => `${row.address} ${row.port}`],
    ['POD', (row) => row.pod],
    ['ON', (row) => (row.local ? 'here' : row.podNode)],
    ['WEIGHT', (row) => row.weight],
    ['SHARE', (row) => percent(row.share)],
    ['CLIENTS', (row) => row.clients],
  ],
  identities: [
    ['IDENTITY', (row) => row.hex],
    ['RANGES', (row) => list(row.ranges)],
    ['PODS', (row) => list(row.pods)],
    ['TOLD APART BY', (row) => list(row.rules, 2)],
  ],
  policy: [
    ['POD', (row) => row.pod],
    ['DIRECTION', (row) => row.direction],
    ['PEERS', (row) => peers(row)],
    ['PORTS', (row) => (row.protocol === null ? 'any' : `${row.ports}/${row.protocol}`)],
    ['VERDICT', (row) => row.verdict],
    ['PACKETS', (row) => row.packets],
    ['RULE', (row) => row.text],
    ['AUDITED', (row) => (row.audit ? `${row.audit.verdict}: ${row.audit.text}` : null)],
  ],
  conntrack: [
    ['PROTOCOL', (row) => row.protocol],
    ['FROM', (row) => named(row.src, row.srcName)],
    ['TO', (row) => named(row.dst, row.dstName)],
    ['BACKEND', (row) => (row.backend === null ? null : named(row.backend, row.backendName))],
    ['SEEN AS', (row) => row.seenAs],
    ['STATE', (row) => row.state],
    ['VERDICT', (row) => row.verdict],
    ['PACKETS', (row) => row.packets],
    ['EXPIRES', (row) => (row.expires === null ? null : `${row.expires}s`)],
  ],
  routes: [
    ['RANGE', (row) => row.range],
    ['TO', (row) => row.to],
    ['HOW', (row) => row.how],
    ['VIA', (row) => row.via],
    ['MAC', (row) => row.mac],
  ],
  pods: [
    ['POD', (row) => row.pod],
    ['LINK', (row) => row.interface],
    ['ADDRESSES', (row) => row.addresses.join(',')],
    ['MAC', (row) => row.mac],
    ['INGRESS', (row) => isolation(row.ingress)],
    ['EGRESS', (row) => isolation(row.egress)],
  ],
};

const named = (address: string, name: string | null): string =>
  name === null ? address : `${address} (${name})`;

const isolation = (table: number | null): string =>
  table === null ? 'not compiled yet' : table === 0 ? 'open' : table.toString(16).padStart(8, '0');

function peers({ identity, peers, table }: Dumps['policy']): string {
  if (identity === null) return table === 0 ? 'everybody' : 'all others';
  if (identity === 0) return 'everybody';
  return list(peers) || `identity ${identity.toString(16).padStart(8, '0')}`;
}

export function dumpText(tables: DumpOutput): string {
  const several = Object.keys(tables).length > 1;
  return Object.entries(tables as DumpRows)
    .map(([name, rows]) => {
      const shown = [
        ['NODE', (row: { node: string }) => row.node],
        ...columns[name as DumpName],
      ] as Columns<never>;
      const lines = plainTable([
        shown.map(([head]) => head),
        ...rows.map((row) => shown.map(([, cell]) => cell(row as never) ?? '-')),
      ]);
      return [...(several ? [`${name} (${rows.length})`] : []), ...lines].join('\n');
    })
    .join('\n\n')
    .concat('\n');
}
