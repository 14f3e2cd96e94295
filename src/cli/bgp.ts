/** `heddle bgp`: the BGP sessions of nodes and the routes in them, in the manner of cilium-cli. */
import { type Command, Argument } from 'commander';
import type { BgpPeerRow, BgpRouteRow } from '../controllers/node/bgp-report.ts';
import { agentsOf } from './datapath-nodes.ts';
import type { CliDeps } from './deps.ts';
import { collect, outputFormat, withDataDir } from './flags.ts';
import { plainTable } from './plain-table.ts';

const examples = `
Examples:
  heddle bgp peers
  heddle bgp peers --node node-1 -o json
  heddle bgp routes                          what nodes use: their own routes, and those they took
  heddle bgp routes advertised ipv6          what they tell their peers
  heddle bgp routes advertised --peer router

Who speaks with whom, and what is told, is in the objects ciliumbgpclusterconfigs, ciliumbgppeerconfigs and
ciliumbgpadvertisements ("heddle get").`;

interface CommonFlags {
  dataDir: string;
  node?: string[];
  peer?: string;
  output?: string;
}

export function register(program: Command, deps: CliDeps): void {
  const bgp = withDataDir(program.command('bgp').description('look into the BGP sessions of nodes'))
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', examples);
  const verb = (text: string, description: string, schema: string): Command =>
    bgp
      .command(text)
      .description(description)
      .option('--node <name>', 'of this node only; may be given again', collect)
      .option('--peer <name>', 'of the peer with this name or address only')
      .option('-o, --output <format>', `table, or json (docs/schemas/${schema}.json)`);
  verb('peers', 'sessions, and why one does not stand', 'bgp-peers').action(
    async (_: unknown, command: Command) => peers(command, deps),
  );
  verb('routes', 'routes of both families', 'bgp-routes')
    .addArgument(
      new Argument('[which]', 'in use, or told to peers')
        .choices(['available', 'advertised'])
        .default('available'),
    )
    .addArgument(new Argument('[family]', 'of this family only').choices(['ipv4', 'ipv6']))
    .action(async (which: string, family: string | undefined, _: unknown, command: Command) =>
      routes(which, family, command, deps),
    );
}

interface PeersAnswer {
  readonly peers: readonly BgpPeerRow[];
  readonly problems: readonly string[];
}

async function peers(command: Command, deps: CliDeps): Promise<void> {
  const { flags, json } = common(command);
  const answers = await agentsOf(flags.dataDir, flags.node, deps).ask<PeersAnswer>('/bgp/peers');
  const rows = answers.flatMap(({ node, answer }) =>
    answer.peers
      .filter(({ peer, peerAddress }) => flags.peer === undefined || [peer, peerAddress].includes(flags.peer))
      .map((each) => ({ node, ...each })),
  );
  const problems = answers.flatMap(({ node, answer }) => answer.problems.map((text) => ({ node, text })));
  if (json) return printJson(deps, { peers: rows, problems });
  deps.stdout.write(peersText(rows));
  for (const { node, text } of problems) deps.stderr.write(`warning: ${node}: ${text}\n`);
}

type PeerRow = BgpPeerRow & { readonly node: string };

const PEERS = 'NODE,PEER,LOCAL AS,PEER AS,PEER ADDRESS,SESSION STATE,UPTIME,FAMILY,RECEIVED,ADVERTISED'.split(
  ',',
);

/** A line for each family; what is of the session stands in the first. */
export function peersText(rows: readonly PeerRow[]): string {
  if (rows.length === 0) return 'no node has a BGP peer\n';
  const lines = rows.flatMap((row) => {
    const session = [
      row.node,
      row.peer,
      row.localASN,
      row.peerASN,
      row.peerAddress,
      row.state,
      row.uptime === null ? '-' : uptimeText(row.uptime),
    ];
    const [first, ...more] = row.families.map(({ family, received, advertised }) => [
      family,
      received,
      advertised,
    ]);
    return [
      [...session, ...(first ?? ['-', '-', '-'])],
      ...more.map((cells) => [...session.map(() => ''), ...cells]),
    ];
  });
  const why = rows.flatMap(({ node, peer, state, lastError }) =>
    state !== 'established' && lastError ? [`${node}: ${peer}: ${lastError.text} (${lastError.at})`] : [],
  );
  return `${[...plainTable([PEERS, ...lines]), ...why].join('\n')}\n`;
}

function uptimeText(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours}h${minutes}m${seconds % 60}s`;
  return minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`;
}

type RouteRow = BgpRouteRow & { readonly node: string };

async function routes(
  which: string,
  family: string | undefined,
  command: Command,
  deps: CliDeps,
): Promise<void> {
  const { flags, json } = common(command);
  const answers = await agentsOf(flags.dataDir, flags.node, deps).ask<BgpRouteRow[]>(
    `/bgp/routes?which=${which}`,
  );
  const rows: RouteRow[] = answers
    .flatMap(({ node, answer }) => answer.map((each) => ({ node, ...each })))
    .filter(({ prefix }) => family === undefined || prefix.includes(':') === (family === 'ipv6'))
    .filter(({ peer, nextHop }) => flags.peer === undefined || [peer, nextHop].includes(flags.peer));
  if (json) return printJson(deps, { which, routes: rows });
  deps.stdout.write(routesText(rows));
}

export function routesText(rows: readonly RouteRow[]): string {
  if (rows.length === 0) return 'no routes\n';
  const lines = rows.map((row) => [
    row.node,
    row.localASN,
    row.peer ?? '-',
    row.prefix,
    row.nextHop ?? '-',
    attributesText(row),
  ]);
  return `${plainTable([['NODE', 'VROUTER', 'PEER', 'PREFIX', 'NEXTHOP', 'ATTRS'], ...lines]).join('\n')}\n`;
}

function attributesText(row: RouteRow): string {
  const parts = [
    ...(row.asPath.length > 0 ? [`AsPath: ${row.asPath.join(' ')}`] : []),
    ...(row.localPreference === null ? [] : [`LocalPref: ${row.localPreference}`]),
    ...(row.med === null ? [] : [`Med: ${row.med}`]),
    ...(row.communities.length > 0 ? [`Communities: ${row.communities.join(' ')}`] : []),
    ...(row.largeCommunities.length > 0 ? [`LargeCommunities: ${row.largeCommunities.join(' ')}`] : []),
  ];
  return parts.map((part) => `{${part}}`).join(' ') || '-';
}

function common(command: Command): { flags: CommonFlags; json: boolean } {
  const flags = command.optsWithGlobals<CommonFlags>();
  return { flags, json: outputFormat(flags.output, ['table', 'json']) === 'json' };
}

const printJson = (deps: CliDeps, value: unknown): void =>
  void deps.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
