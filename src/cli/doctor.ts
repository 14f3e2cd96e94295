/** `heddle doctor`: what is wrong with the machine's clusters and their nodes, and mending what can be mended. */
import type { Command } from 'commander';
import { findLeft, leftText, sweepLeft } from '../cluster/cri-left.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { findShells, removeShell } from '../cluster/shells.ts';
import type { Finding, Fixed, NodeFacts } from '../doctor/facts.ts';
import { judgeNode } from '../doctor/judge.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { DEFAULT_SOCKET } from '../cni/standalone/config.ts';
import { agentStatus } from './cni-status.ts';
import { type Agents, agentsOf } from './datapath-nodes.ts';
import { type CliDeps, exitCodes } from './deps.ts';
import { collect, outputFormat, requireAbsolute, requireRoot, withDataDir } from './flags.ts';
import { readConfig } from './up-request.ts';

const examples = `
Examples:
  heddle doctor                 what is wrong, and what to do about it
  heddle doctor --fix           mend what can be mended, then look again
  heddle doctor -o json         for machines (docs/schemas/doctor.json)

It compares each node's kernel with what its agent wants there, looks for links and addresses of pods that are gone, for
tables and address ranges that fill, with who fills them, for clusters of which nothing but a shell is left, and for pods
that a container runtime was to remove and did not. Of a standalone agent ("heddle agent --standalone") it tells what that
had to put right when it started.
Exit code 1: something is wrong (and, with --fix, still is). Warnings alone are no failure.`;

interface DoctorFlags {
  dataDir: string;
  node?: string[];
  fix?: boolean;
  output?: string;
  socket: string;
}

interface Placed extends Finding {
  /** Name of a node; null: the machine. */
  readonly node: string | null;
}

interface Report {
  readonly nodes: readonly { readonly node: string; readonly tableBytes: number }[];
  readonly findings: readonly Placed[];
  /** What `--fix` did, a line each. */
  readonly fixed: readonly string[];
}

export function register(program: Command, deps: CliDeps): void {
  withDataDir(
    program.command('doctor').description('find what is wrong with nodes and clusters, and mend it'),
  )
    .option('--node <name>', 'of this node only; may be given again', collect)
    .option('--fix', 'mend what can be mended')
    .option('--socket <path>', 'the socket of a standalone agent, if one runs', DEFAULT_SOCKET)
    .option('-o, --output <format>', 'text, or json (docs/schemas/doctor.json)')
    .addHelpText('after', examples)
    .action((flags: DoctorFlags) => doctor(flags, deps));
}

async function doctor(flags: DoctorFlags, deps: CliDeps): Promise<void> {
  const json = outputFormat(flags.output, ['text', 'json']) === 'json';
  requireRoot(deps.isRoot, 'looking into kernels');
  const paths = clusterPaths(flags.dataDir);
  // Without a cluster in the data directory there is still the machine to look at.
  requireAbsolute('--socket', flags.socket);
  const agents = readConfig(paths) || flags.node ? agentsOf(flags.dataDir, flags.node, deps) : undefined;
  const fixed = flags.fix ? [...(await fixShells()), ...(await fixNodes(agents))] : [];
  const { nodes, findings } = await examine(agents);
  findings.push(...(await examineContainers(flags.socket)));
  const report: Report = { nodes, findings, fixed };
  deps.stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : reportText(report));
  process.exitCode = findings.some(({ severity }) => severity === 'error') ? exitCodes.failed : exitCodes.ok;
}

async function fixShells(): Promise<string[]> {
  const shells = findShells();
  for (const shell of shells) await removeShell(shell);
  const swept = await sweepLeft();
  return [
    ...shells.map(({ id, left }) => `removed what was left of cluster ${id}: ${left.join(', ')}`),
    ...swept.map((one) => `removed what cluster ${one.cluster} had left in ${one.endpoint}`),
  ];
}

async function fixNodes(agents: Agents | undefined): Promise<string[]> {
  const lines: string[] = [];
  for (const node of agents?.nodes ?? []) {
    const fixed = await agents?.askOne<Fixed>(node, '/doctor/fix', {}).catch(() => undefined);
    for (const { kind, what } of fixed?.mended ?? []) lines.push(`${node}: mended ${what} (was ${kind})`);
    for (const what of fixed?.removed ?? []) lines.push(`${node}: removed ${what}`);
  }
  return lines;
}

async function examine(agents: Agents | undefined) {
  const findings: Placed[] = findShells().map(({ id, left }) => ({
    node: null,
    check: 'clusters',
    severity: 'error',
    what: `nobody runs in cluster ${id}, and it is still in the kernel`,
    items: left,
    hint: '--fix removes it; its data directory stays',
    fixable: true,
  }));
  const left = findLeft();
  if (left.length > 0)
    findings.push({
      node: null,
      check: 'clusters',
      severity: 'error',
      what: 'a container runtime did not answer when its pods were to be removed',
      items: left.map(leftText),
      hint: '--fix removes them once it answers, and so do "heddle up" and "heddle down"',
      fixable: true,
    });
  const nodes: { node: string; tableBytes: number }[] = [];
  for (const node of agents?.nodes ?? []) {
    try {
      const facts = await agents!.askOne<NodeFacts>(node, '/doctor');
      nodes.push({ node, tableBytes: facts.tableBytes });
      findings.push(...judgeNode(facts).map((finding) => ({ node, ...finding })));
    } catch (error) {
      findings.push({ node, ...silentAgent(error) });
    }
  }
  return { nodes, findings };
}

/** Of a standalone agent: it mends by itself what it finds when it starts, and says so until it ends. */
async function examineContainers(socket: string): Promise<Placed[]> {
  const status = await agentStatus(socket).catch((error: unknown) => {
    if (error instanceof HeddleError && error.code === 'CniAgentAway') return undefined;
    throw error;
  });
  const told = { node: null, check: 'containers', severity: 'warning', fixable: false } as const;
  const { name = '', limits = [], repairs = [] } = status ?? {};
  return [
    {
      ...told,
      what: `containers of the network ${name} are not served as they should be`,
      items: limits,
      hint: '"heddle cni status" shows what the agent serves',
    },
    {
      ...told,
      what: `the agent of the network ${name} found its books and the kernel in disagreement, and put it right`,
      items: repairs,
      hint: 'containers go on; damaged files are kept beside its own as FILE.damaged-TIME. This is said until it starts again',
    },
  ].filter(({ items }) => items.length > 0);
}

const silentAgent = (error: unknown): Finding => ({
  check: 'agents',
  severity: 'error',
  what: 'the agent does not answer; running pods go on without it',
  items: [errorText(error)],
  hint: '"heddle status" shows what runs; the supervisor starts it again, with a longer pause each time',
  fixable: false,
});

function reportText({ nodes, findings, fixed }: Report): string {
  const lines = fixed.map((line) => `fixed: ${line}`);
  for (const { node, severity, what, items, hint } of findings) {
    lines.push(`${severity}: ${node === null ? '' : `${node}: `}${what}`);
    lines.push(...items.slice(0, MOST).map((item) => `    ${item}`));
    if (items.length > MOST) lines.push(`    and ${items.length - MOST} more (-o json has all)`);
    lines.push(`  ${hint}`);
  }
  if (findings.length === 0) lines.push(wellText(nodes));
  return `${lines.join('\n')}\n`;
}

/** Of a list as many lines as a reader looks at. */
const MOST = 10;

function wellText(nodes: Report['nodes']): string {
  if (nodes.length === 0) return 'nothing is left of any cluster, and there is none in this data directory';
  const bytes = nodes.reduce((sum, { tableBytes }) => sum + tableBytes, 0);
  const names = nodes.map(({ node }) => node).join(', ');
  return `nothing is wrong: the kernels of ${names} hold what is wanted there, in ${(bytes / 2 ** 20).toFixed(1)} MiB of tables`;
}
