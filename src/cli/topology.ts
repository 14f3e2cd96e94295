/** `heddle topology`: the links between zones of a local cluster, as asked and as measured, and changes of them. */
import type { Command } from 'commander';
import { linesStatus, setLinks } from '../cluster/lines/client.ts';
import { changedLinks, type LinkChanges } from '../cluster/lines/change.ts';
import { type LinkField, linkFields, linkFieldNames } from '../cluster/lines/values.ts';
import { HeddleError } from '../lib/errors.ts';
import { agentsOf } from './datapath-nodes.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat, withDataDir } from './flags.ts';
import { gatherTopology, topologyText } from './topology-show.ts';

const examples = `
Examples:
  heddle topology show                                    what was asked, and what is measured now
  heddle topology set zone-a zone-b --latency 50ms --loss 1%
  heddle topology set zone-a zone-b --loss 100%           cut off
  heddle topology set zone-a zone-b --loss none           as before, but for the loss
  heddle topology set zone-a zone-b --clear               as fast as the machine

Zones and links are declared in the cluster's file (docs/cluster-file.md). A change reaches packets that are on their way,
restarts nothing, and lasts until the cluster goes down.`;

interface SetFlags extends Partial<Record<LinkField, string>> {
  dataDir: string;
  clear?: boolean;
}

interface ShowFlags {
  dataDir: string;
  measure: boolean;
  output?: string;
}

export function register(program: Command, deps: CliDeps): void {
  const topology = withDataDir(
    program.command('topology').description('links between zones: show, measure and change them'),
  )
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', examples);
  topology
    .command('show')
    .description('each link, and the round trips over it')
    .option('--no-measure', 'send no probes')
    .option('-o, --output <format>', 'table, or json (docs/schemas/topology.json)')
    .action((_: unknown, command: Command) => show(command.optsWithGlobals<ShowFlags>(), deps));
  const set = topology
    .command('set <place> <other>')
    .description('change the link between two zones, racks or regions')
    .option('--clear', 'nothing of what was there stays');
  for (const field of linkFieldNames) {
    const { flag, expected } = linkFields[field];
    if (flag !== undefined) set.option(`--${flag} <value>`, `${expected}; or none`);
  }
  set.action((place: string, other: string, _: unknown, command: Command) =>
    change([place, other], command.optsWithGlobals<SetFlags>(), deps),
  );
}

async function show(flags: ShowFlags, deps: CliDeps): Promise<void> {
  const json = outputFormat(flags.output, ['table', 'json']) === 'json';
  const agents = agentsOf(flags.dataDir, undefined, deps);
  const output = await gatherTopology(agents, { measure: flags.measure });
  deps.stdout.write(json ? `${JSON.stringify(output, undefined, 2)}\n` : topologyText(output));
}

async function change(between: [string, string], flags: SetFlags, deps: CliDeps): Promise<void> {
  const changes = readChanges(flags);
  if (!flags.clear && Object.keys(changes).length === 0)
    throw new HeddleError(
      'BadFlag',
      `set ${between.join(' ')}: nothing to change; expected --latency or another of its flags`,
    );
  const { paths, config } = agentsOf(flags.dataDir, undefined, deps);
  const { topology, nodes } = config;
  if (!topology)
    throw new HeddleError(
      'BadFlag',
      'all nodes of this cluster share one bridge: there is no link to change',
      {
        hint: 'zones are declared in the cluster file (docs/cluster-file.md), before "heddle up"',
      },
    );
  const { links } = await linesStatus(paths);
  const asked = { between, changes, clear: flags.clear === true };
  await setLinks(paths, changedLinks({ nodes, groups: topology.groups, links }, asked));
}

function readChanges(flags: SetFlags): LinkChanges {
  const changes: Partial<Record<LinkField, number | null>> = {};
  for (const field of linkFieldNames) {
    const text = flags[field];
    if (text === undefined) continue;
    const { flag, expected, read } = linkFields[field];
    const value = text === 'none' ? null : read(text);
    if (value === undefined)
      throw new HeddleError('BadFlag', `--${flag} "${text}": expected ${expected}; or none`);
    changes[field] = value;
  }
  return changes;
}
