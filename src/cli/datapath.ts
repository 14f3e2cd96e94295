/** `heddle datapath`: what the data path of nodes holds and does, with the names behind the numbers. */
import { type Command, Option } from 'commander';
import { DATAPATHS } from '../cluster/config.ts';
import type { Difference } from '../datapath/backend.ts';
import { ENCAPSULATIONS } from '../datapath/encapsulation.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Protocol } from '../policy/world.ts';
import { dumpNames, dumpText, gatherDumps } from './datapath-dump.ts';
import { cutText, moveNodes, type MoveOutput } from './datapath-move.ts';
import { routeNodes, routeText } from './datapath-route.ts';
import { agentsOf } from './datapath-nodes.ts';
import { statusRows, statusText } from './datapath-status.ts';
import { dryTrace, type LiveEvent, liveText, watch } from './datapath-trace.ts';
import { traceText } from './datapath-trace-text.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { collect, duration, outputFormat, withDataDir } from './flags.ts';
import { onInterrupt } from './interrupt.ts';
import { plainTable } from './plain-table.ts';

const examples = `
Examples:
  heddle datapath status
  heddle datapath dump services -n shop
  heddle datapath dump policy --pod shop/cart-0
  heddle datapath dump conntrack --service shop/cart -o json
  heddle datapath trace shop/frontend shop/cart:80 --protocol tcp
  heddle datapath trace 203.0.113.9 10.240.0.11:30080 --live 30s
  heddle datapath move nftables --dry-run            which connections would end
  heddle datapath route native                       no tunnel between nodes, and no connection lost
  heddle datapath verify                             what the kernel has that it should not, and lacks`;

const traceHelp = `
The packet is the first of a connection. It is followed through the plans of the nodes on its way and, where the data
path is eBPF, run through the programs that are loaded and attached there: nothing is sent, counted or remembered. Other
data paths cannot run a packet; of them the plan is all that is said.
Exit code 1: the kernel's answer is not the plan's.`;

const routeHelp = `
native: plain routes on the link that nodes share. vxlan, geneve, gre: tunnels. All nodes first hear the new way beside
the old one, then one after another sends by it; pods' MTU grows when all have, and shrinks before. No connection
ends. With --node only these send by it, and all hear both until "route" was given for the rest.`;

interface CommonFlags {
  dataDir: string;
  node?: string[];
  output?: string;
}

export function register(program: Command, deps: CliDeps): void {
  const datapath = withDataDir(program.command('datapath').description('look into the data path of nodes'))
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', examples);
  const verb = (text: string, description: string, schema: string): Command =>
    datapath
      .command(text)
      .description(description)
      .option('--node <name>', 'of this node only; may be given again', collect)
      .option('-o, --output <format>', `table, or json (docs/schemas/${schema}.json)`);
  addDump(verb, deps);
  addTrace(verb, deps);
  addMove(verb, deps);
  addRoute(verb, deps);
  verb('status', 'which backend runs, what it can, what it has done', 'datapath-status').action(
    async (_: unknown, command: Command) => {
      const { flags, json } = common(command);
      const rows = await statusRows(agentsOf(flags.dataDir, flags.node, deps));
      print(deps, json, { nodes: rows }, () => statusText(rows));
    },
  );
  verb('verify', 'compare the kernel with the plan; 1 where they differ', 'datapath-verify').action(
    async (_: unknown, command: Command) => verify(command, deps),
  );
  verb('counters', 'packets and bytes of each policy rule', 'datapath-counters').action(
    async (_: unknown, command: Command) => counters(command, deps),
  );
}

type AddVerb = (text: string, description: string, schema: string) => Command;

function addDump(verb: AddVerb, deps: CliDeps): void {
  verb(
    'dump <what>',
    'services, backends, identities, policy, conntrack, routes, pods or all',
    'datapath-dump',
  )
    .option('-n, --namespace <name>', 'of services and pods in this namespace')
    .option('--service <name>', 'NAMESPACE/NAME, or NAME')
    .option('--pod <name>', 'NAMESPACE/NAME, or NAME')
    .action(async (what: string, _: unknown, command: Command) => {
      const { flags, json } = common(command);
      const { namespace, service, pod } = command.opts<{
        namespace?: string;
        service?: string;
        pod?: string;
      }>();
      const names = dumpNames(what);
      const agents = agentsOf(flags.dataDir, flags.node, deps);
      const tables = await gatherDumps(names, agents, { namespace, service, pod });
      print(deps, json, { tables }, () => dumpText(tables));
    });
}

function addTrace(verb: AddVerb, deps: CliDeps): void {
  verb('trace <from> <to>', 'follow one packet through every decision', 'datapath-trace')
    .addHelpText('after', traceHelp)
    .addOption(
      new Option('--protocol <name>', 'of the packet').choices(['tcp', 'udp', 'sctp', 'icmp']).default('tcp'),
    )
    .addOption(new Option('--family <4|6>', 'of addresses, where both ends have both').choices(['4', '6']))
    .option('--sender <pod>', 'namespace/name of the pod that sends it, if FROM is not its own address')
    .option('--live [time]', 'also what the kernels record of its connection, for this long (30s)')
    .action(async (from: string, to: string, _: unknown, command: Command) =>
      traceVerb(from, to, command, deps),
    );
}

function addMove(verb: AddVerb, deps: CliDeps): void {
  verb('move <backend>', 'nodes go over to another backend while packets flow', 'datapath-move')
    .option('--dry-run', 'say which connections would end')
    .option('--anyway', 'also where connections end')
    .action(async (to: string, _: unknown, command: Command) => {
      const { flags, json } = common(command);
      const known: readonly string[] = DATAPATHS;
      if (!known.includes(to))
        throw new HeddleError('BadFlag', `move "${to}": expected ${DATAPATHS.join(', ')}`);
      const { dryRun = false, anyway = false } = command.opts<{ dryRun?: boolean; anyway?: boolean }>();
      const agents = agentsOf(flags.dataDir, flags.node, deps);
      const output = await moveNodes(agents, { to, dryRun, anyway }, (text) =>
        deps.stderr.write(`${text}\n`),
      );
      print(deps, json, output, () => moveText(output));
    });
}

function moveText({ nodes, cut }: MoveOutput): string {
  const lines = nodes.map(({ node, from, to, moved }) =>
    moved ? `${node}: moved from ${from} to ${to}` : `${node}: ${from}${from === to ? ' already' : ''}`,
  );
  if (cut.length > 0)
    lines.push(`connections that end with it: ${cut.length}`, ...cut.map((row) => `  ${cutText(row)}`));
  return `${lines.join('\n')}\n`;
}

function addRoute(verb: AddVerb, deps: CliDeps): void {
  verb('route <way>', 'nodes reach each other by native, vxlan, geneve or gre', 'datapath-route')
    .addHelpText('after', routeHelp)
    .action(async (word: string, _: unknown, command: Command) => {
      const { flags, json } = common(command);
      const to = ENCAPSULATIONS.find((way) => way === word);
      if (!to) throw new HeddleError('BadFlag', `route "${word}": expected ${ENCAPSULATIONS.join(', ')}`);
      // Whoever goes over, all must hear him.
      agentsOf(flags.dataDir, flags.node, deps);
      const output = await routeNodes(
        agentsOf(flags.dataDir, undefined, deps),
        { to, only: flags.node },
        (text) => deps.stderr.write(`${text}\n`),
      );
      print(deps, json, output, () => routeText(output));
    });
}

interface TraceFlags extends CommonFlags {
  protocol: string;
  family?: string;
  live?: string | true;
  sender?: string;
}

async function traceVerb(from: string, to: string, command: Command, deps: CliDeps): Promise<void> {
  const flags = command.optsWithGlobals<TraceFlags>();
  const { json } = common(command);
  const liveMs =
    flags.live === undefined ? undefined : duration('--live', flags.live === true ? '30s' : flags.live);
  const agents = agentsOf(flags.dataDir, flags.node, deps);
  const traced = await dryTrace(agents, {
    from,
    to,
    protocol: flags.protocol.toUpperCase() as Protocol,
    family: flags.family === undefined ? undefined : flags.family === '4' ? 4 : 6,
    liveMs,
    sender: flags.sender,
  });
  const { output } = traced;
  if (!json) deps.stdout.write(traceText(output));
  const seen: LiveEvent[] = [];
  if (liveMs !== undefined) {
    if (!json) deps.stdout.write('\nwhat the kernels record (new connections, and what is denied):\n');
    const interrupt = onInterrupt();
    const tell = (event: LiveEvent) => void (json ? seen.push(event) : deps.stdout.write(liveText(event)));
    await watch(agents, traced, liveMs, tell, interrupt.signal).finally(() => interrupt.dispose());
  }
  if (json)
    deps.stdout.write(
      `${JSON.stringify({ ...output, live: liveMs === undefined ? null : seen }, undefined, 2)}\n`,
    );
  process.exitCode = output.dry.differences.length === 0 ? exitCodes.ok : exitCodes.failed;
}

async function verify(command: Command, deps: CliDeps): Promise<void> {
  const { flags, json } = common(command);
  const answers = await agentsOf(flags.dataDir, flags.node, deps).ask<Difference[]>('/datapath/verify');
  const differences = answers.flatMap(({ node, answer }) => answer.map((each) => ({ node, ...each })));
  print(deps, json, { nodes: answers.map(({ node }) => node), differences }, () =>
    differences.length === 0
      ? `the kernel of ${answers.map(({ node }) => node).join(', ')} holds exactly the plan\n`
      : table(['NODE', 'IS', 'WHAT'], differences, ({ node, kind, what }) => [node, kind, what]),
  );
  process.exitCode = differences.length === 0 ? exitCodes.ok : exitCodes.failed;
}

interface RuleCounter {
  readonly rule: number;
  readonly text?: string;
  readonly packets: number;
  readonly bytes: number;
}

async function counters(command: Command, deps: CliDeps): Promise<void> {
  const { flags, json } = common(command);
  const answers = await agentsOf(flags.dataDir, flags.node, deps).ask<RuleCounter[]>('/datapath/counters');
  const rules = answers
    .flatMap(({ node, answer }) => answer.map((each) => ({ node, ...each, text: each.text ?? null })))
    .sort((a, b) => b.packets - a.packets);
  print(deps, json, { rules }, () =>
    table(['NODE', 'RULE', 'PACKETS', 'BYTES', 'TEXT'], rules, (each) => [
      each.node,
      each.rule.toString(16).padStart(8, '0'),
      each.packets,
      each.bytes,
      each.text ?? '-',
    ]),
  );
}

function common(command: Command): { flags: CommonFlags; json: boolean } {
  const flags = command.optsWithGlobals<CommonFlags>();
  return { flags, json: outputFormat(flags.output, ['table', 'json']) === 'json' };
}

function print(deps: CliDeps, json: boolean, value: unknown, text: () => string): void {
  deps.stdout.write(json ? `${JSON.stringify(value, undefined, 2)}\n` : text());
}

const table = <T>(
  head: readonly string[],
  rows: readonly T[],
  cells: (row: T) => readonly (string | number)[],
): string => `${plainTable([head, ...rows.map(cells)]).join('\n')}\n`;
