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
import { openings } from '../../policy/openings/openings.ts';
import type { CliDeps } from '../deps.ts';
import { collect, outputFormat } from '../flags.ts';
import { printExposure } from './exposure.ts';
import { type EstateFlags, estateOf, findWorkload, printValue, withEstate, writeAll } from './common.ts';
import { drawing, type GraphRow, tableIn } from './render-graph.ts';

interface ConnectivityFlags extends EstateFlags {
  focus?: string[];
  ipv6?: boolean;
  exposure?: boolean;
  proxy?: string[];
}

export const GRAPH_FORMATS = ['text', 'json', 'yaml', 'csv', 'md', 'dot', 'svg'] as const;

const examples = `
Examples:
  heddle policy connectivity -f k8s/ -o json
  heddle policy connectivity -f k8s/ --focus shop/cart
  heddle policy connectivity -f k8s/ -o svg > connectivity.svg
  heddle policy connectivity -f k8s/ --exposure      to pods that may come, and to the outside (docs/schemas/policy-exposure.json)

A workload is the pods of one owner; what any of them may reach counts. Pairs without connection, and a workload with
itself, are left out. External ranges are addresses of no pod and no node. ICMP does not count.

--exposure also tells what Services (node ports, external addresses, load balancers), Ingresses and routes of the Gateway API
open to the outside: whose pods answer, by which object, and whether policies let it pass (open, partly, closed). What comes
by an Ingress or a Gateway is sent by its proxy: found by labels, or named by --proxy.`;

export function addConnectivity(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('connectivity').description('who can reach whom on what'))
    .option('--focus <workload>', 'only its connections; repeatable', collect)
    .option('--ipv6', 'external ranges, and addresses of pods, in IPv6')
    .option(
      '--exposure',
      'instead: what pods that are not known may reach, and be reached by, and what is open to the outside',
    )
    .option(
      '--proxy <workload>',
      'with --exposure: who proxies for Ingresses and Gateways; repeatable',
      collect,
    )
    .option('-o, --output <format>', `${GRAPH_FORMATS.join(', ')} (docs/schemas/policy-connectivity.json)`)
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ConnectivityFlags>();
      const format = outputFormat(flags.output, GRAPH_FORMATS) ?? 'text';
      const { estate, openers, placeOf } = await estateOf(flags, deps);
      const focus = focusOf(estate, flags);
      if (flags.exposure) {
        const proxies = flags.proxy?.map((text) =>
          findWorkload(estate, '--proxy', text, flags.namespace ?? 'default'),
        );
        const opened = openings(estate, openers, { focus, proxies, family: flags.ipv6 ? 6 : 4 });
        return printExposure({ pods: exposure(estate, focus), openings: opened, placeOf }, format, deps);
      }
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
