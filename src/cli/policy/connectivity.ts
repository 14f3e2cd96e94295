/** `heddle policy connectivity`: who can reach whom on what. */
import type { Command } from 'commander';
import {
  type Connection,
  connectionOutput,
  connectivity,
  isWorkload,
  type Party,
  partyText,
} from '../../policy/analyse/connectivity.ts';
import { type Estate, compareWorkloads, type Workload } from '../../policy/analyse/estate.ts';
import { exposure } from '../../policy/analyse/exposure.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import type { CliDeps } from '../deps.ts';
import { collect, outputFormat } from '../flags.ts';
import { printExposure } from './exposure.ts';
import { type EstateFlags, estateOf, findWorkload, printValue, withEstate, writeAll } from './common.ts';
import { drawing, type GraphRow, tableIn } from './render-graph.ts';

interface ConnectivityFlags extends EstateFlags {
  focus?: string[];
  ipv6?: boolean;
  exposure?: boolean;
}

export const GRAPH_FORMATS = ['text', 'json', 'yaml', 'csv', 'md', 'dot', 'svg'] as const;

const examples = `
Examples:
  heddle policy connectivity -f k8s/ -o json
  heddle policy connectivity -f k8s/ --focus shop/cart
  heddle policy connectivity -f k8s/ -o svg > connectivity.svg
  heddle policy connectivity -f k8s/ --exposure      to pods that may come (docs/schemas/policy-exposure.json)

A workload is the pods of one owner; what any of them may reach counts. Pairs without connection, and a workload with
itself, are left out. External ranges are addresses of no pod and no node. ICMP does not count.`;

export function addConnectivity(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('connectivity').description('who can reach whom on what'))
    .option('--focus <workload>', 'only its connections; repeatable', collect)
    .option('--ipv6', 'external ranges, and addresses of pods, in IPv6')
    .option('--exposure', 'instead: what pods that are not known may reach, and be reached by')
    .option('-o, --output <format>', `${GRAPH_FORMATS.join(', ')} (docs/schemas/policy-connectivity.json)`)
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ConnectivityFlags>();
      const format = outputFormat(flags.output, GRAPH_FORMATS) ?? 'text';
      const { estate } = await estateOf(flags, deps);
      const focus = focusOf(estate, flags);
      if (flags.exposure) return printExposure(exposure(estate, focus), format, deps);
      await printConnections(connectivity(estate, { focus, family: flags.ipv6 ? 6 : 4 }), format, deps);
    });
}

export function focusOf(
  estate: Estate,
  { focus, namespace = 'default' }: ConnectivityFlags,
): ReadonlySet<Workload> | undefined {
  if (!focus) return undefined;
  return new Set(
    focus.map((text) => findWorkload(estate, '--focus', text, namespace)).sort(compareWorkloads),
  );
}

export const groupOfParty = (party: Party): string | undefined =>
  isWorkload(party) ? party.namespace : undefined;

const graphRow = ({ src, dst, set }: Connection): GraphRow => ({
  src: partyText(src),
  dst: partyText(dst),
  label: portSetText(set),
  group: { src: groupOfParty(src), dst: groupOfParty(dst) },
});

async function printConnections(
  connections: Iterable<Connection>,
  format: (typeof GRAPH_FORMATS)[number],
  deps: CliDeps,
): Promise<void> {
  if (format === 'json') return writeAll(jsonParts(connections), deps.stdout);
  if (format === 'yaml') return printValue([...connections].map(connectionOutput), 'yaml', deps);
  const rows = [...connections].map(graphRow);
  if (format === 'dot' || format === 'svg') return writeAll([drawing(format, rows)], deps.stdout);
  const cells = rows.map(({ src, dst, label }) => [src, dst, label]);
  return writeAll([tableIn(format, ['FROM', 'TO', 'ALLOWED'], cells)], deps.stdout);
}

/** One connection a line: there may be a million. */
function* jsonParts(connections: Iterable<Connection>): Generator<string> {
  yield '[';
  let separator = '\n  ';
  for (const connection of connections) {
    yield `${separator}${JSON.stringify(connectionOutput(connection))}`;
    separator = ',\n  ';
  }
  yield separator === '\n  ' ? ']\n' : '\n]\n';
}
