/** `heddle ipam`: pools, blocks and addresses of pods, in the manner of calicoctl. */
import type { Command } from 'commander';
import type { IpamReport } from '../controllers/node/ipam-report.ts';
import { biggestUsers } from '../ipam/refusals.ts';
import { HeddleError } from '../lib/errors.ts';
import { tryCanonical } from '../lib/ip.ts';
import { agentsOf } from './datapath-nodes.ts';
import type { CliDeps } from './deps.ts';
import { collect, outputFormat, withDataDir } from './flags.ts';
import { addressesText, blocksText, poolsText, showText } from './ipam-text.ts';
import { addressRows, blockRows, type NodeIpam, poolRows, reservationRows } from './ipam-view.ts';

const examples = `
Examples:
  heddle ipam show                            how full pools are, and who has most
  heddle ipam pools -o json
  heddle ipam blocks --node node-1
  heddle ipam addresses --ip 10.244.0.7       who has this one
  heddle ipam addresses --pool default        taken, kept for a pod to come back, just released

Pools are CiliumPodIPPool objects, what is set aside is in IPReservation objects ("heddle get").
With --node the figures are of what this node has of a pool.`;

interface Flags {
  dataDir: string;
  node?: string[];
  pool?: string;
  ip?: string;
  output?: string;
}

interface Asked {
  readonly nodes: readonly NodeIpam[];
  readonly flags: Flags;
  /** Blocks that nodes have from the beginning. */
  readonly first: ReadonlySet<string>;
}

export function register(program: Command, deps: CliDeps): void {
  const ipam = withDataDir(
    program.command('ipam').description('show whose the addresses of pods are, and how full pools are'),
  )
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', examples);
  const verb = (name: string, description: string, print: (asked: Asked) => Printed): Command =>
    ipam
      .command(name)
      .description(description)
      .option('--node <name>', 'of this node only; may be given again', collect)
      .option('--pool <name>', 'of this pool only')
      .option('-o, --output <format>', `table, or json (docs/schemas/ipam-${name}.json)`)
      .action(async (_: unknown, command: Command) => {
        const flags = command.optsWithGlobals<Flags>();
        const json = outputFormat(flags.output, ['table', 'json']) === 'json';
        const { value, text } = print(await ask(flags, deps));
        deps.stdout.write(json ? `${JSON.stringify(value, undefined, 2)}\n` : text);
      });
  verb('show', 'how full pools are, who has most, and what is set aside', show);
  verb('pools', 'ranges, blocks and counts of each pool', pools);
  verb('blocks', 'which node has which block, and how full it is', blocks);
  verb('addresses', 'who has which address', addresses).option('--ip <address>', 'this address only');
}

interface Printed {
  readonly value: unknown;
  readonly text: string;
}

async function ask(flags: Flags, deps: CliDeps): Promise<Asked> {
  const agents = agentsOf(flags.dataDir, flags.node, deps);
  const nodes = await agents.ask<IpamReport>('/ipam');
  const first = new Set(agents.config.nodes.flatMap(({ podCidrs }) => podCidrs));
  const known = poolRows(nodes).map(({ pool }) => pool);
  if (flags.pool !== undefined && !known.includes(flags.pool))
    throw new HeddleError(
      'BadFlag',
      `--pool "${flags.pool}": expected ${[...new Set(known)].join(' or ') || 'none: there is no pool'}`,
    );
  return { nodes, flags, first };
}

const ofPool = <T extends { pool: string | null }>(rows: readonly T[], { pool }: Flags): T[] =>
  rows.filter((row) => pool === undefined || row.pool === pool);

const namesOf = (nodes: readonly NodeIpam[]): string[] => nodes.map(({ node }) => node);

function show({ nodes, flags }: Asked): Printed {
  const rows = ofPool(poolRows(nodes), flags);
  const taken = ofPool(addressRows(nodes), flags).filter(
    ({ state, owner }) => owner !== null && (state === 'taken' || state === 'sticky'),
  );
  // A pod has an address of each family: it counts once.
  const pods = [...new Set(taken.map(({ owner }) => owner ?? ''))].map((label) => ({ label }));
  const value = {
    nodes: namesOf(nodes),
    pools: rows,
    users: biggestUsers(pods, 10).map(({ name, count }) => ({ workload: name, pods: count })),
    reservations: reservationRows(nodes),
  };
  return { value, text: showText(value) };
}

function pools({ nodes, flags }: Asked): Printed {
  const rows = ofPool(poolRows(nodes), flags);
  return { value: { nodes: namesOf(nodes), pools: rows }, text: poolsText(rows) };
}

function blocks({ nodes, flags, first }: Asked): Printed {
  const rows = ofPool(blockRows(nodes, first), flags);
  return { value: { blocks: rows }, text: blocksText(rows) };
}

function addresses({ nodes, flags }: Asked): Printed {
  const ip = flags.ip === undefined ? undefined : tryCanonical(flags.ip)?.text;
  if (flags.ip !== undefined && ip === undefined)
    throw new HeddleError('BadFlag', `--ip "${flags.ip}": expected an address such as 10.244.0.7`);
  const rows = ofPool(addressRows(nodes), flags).filter(({ address }) => ip === undefined || address === ip);
  const reservations = reservationRows(nodes);
  return { value: { addresses: rows, reservations }, text: addressesText(rows, ip) };
}
