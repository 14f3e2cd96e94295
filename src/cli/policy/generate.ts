/** `heddle policy generate`: least-privilege policies from a declared call graph, or from flows that were seen. */
import { type Command, Option } from 'commander';
import { STAGE } from '../../api/labels.ts';
import { tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { partyText } from '../../policy/analyse/connectivity.ts';
import { type Estate, workloadText } from '../../policy/analyse/estate.ts';
import { type Call, type Generated, generate } from '../../policy/analyse/generate.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import { deniedBy, flowText, seenCalls } from '../../policy/analyse/seen-flows.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, findWorkload, withEstate } from './common.ts';
import { itemsOf, onlyKeys, type Part, readParts, refused, textOf } from './question-file.ts';
import { readSeen } from './seen.ts';
import { portsOf } from './words.ts';

interface GenerateFlags extends EstateFlags {
  calls?: string;
  flows?: string | true;
  outside: 'addresses' | 'any';
  stage?: 'audit' | 'enforce';
  dns: boolean;
}

const examples = `
Examples:
  heddle policy generate -f k8s/ --calls calls.yaml > policies.yaml
  heddle policy generate --flows --stage audit > policies.yaml      of what the running cluster's nodes remember
  heddle policy generate --flows flows.json --outside any           of a file: GET /flows of agents, or its events

The call graph:
  calls:
    - { from: shop/frontend, to: shop/cart, ports: [8080] }
    - { from: 0.0.0.0/0, to: shop/frontend, ports: [http] }
    - { from: shop/cart, to: 198.51.100.0/24, ports: [443, 53/udp] }

Flows are those that passed. Nodes record what a policy of any stage selects: to see everything, apply policies that deny all,
audited (heddle.dev/stage: audit), and wait; --stage audit lets the generated ones be tried out the same way ("heddle policy
audit" tells what they would deny). What was not seen is denied; how long is enough, only you know.

Every workload gets a policy, so that nothing passes that is not declared or seen. Policies that are read beside are not
looked at. What labels cannot tell apart, and flows that no policy can allow alone, are told on stderr.

0 if the policies allow what is declared or seen, and between workloads nothing else, 1 if they do not.`;

export function addGenerate(policy: Command, deps: CliDeps): void {
  withEstate(
    policy.command('generate').description('least-privilege policies from a call graph, or from flows'),
  )
    .option('--calls <path>', 'the call graph')
    .option(
      '--flows [path]',
      'flows that were seen: a file, - for stdin; without a path, of the running cluster',
    )
    .addOption(
      new Option('--outside <who>', 'with --flows: whom outside to allow')
        .choices(['addresses', 'any'])
        .default('addresses', 'addresses that were seen'),
    )
    .addOption(new Option('--stage <stage>', 'of the policies, as their label').choices(['audit', 'enforce']))
    .option('--no-dns', 'with --calls: without leave to ask the DNS of the cluster')
    .option('-o, --output <format>', 'yaml or json')
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GenerateFlags>();
      const format = outputFormat(flags.output, ['yaml', 'json']) ?? 'yaml';
      const generated = await (flags.flows === undefined ? fromCalls : fromFlows)(flags, deps);
      await printPolicies(staged(generated.policies, flags.stage), format, deps);
      tell(generated, deps);
      const isWhole = generated.differences.length === 0 && generated.denied === 0;
      process.exitCode = isWhole ? answers.yes : answers.no;
    });
}

/** `denied`: flows that were seen, and that these policies would deny or cannot name. */
type Result = Generated & { readonly denied: number };

async function fromCalls(flags: GenerateFlags, deps: CliDeps): Promise<Result> {
  if (flags.calls === undefined)
    throw new HeddleError('BadFlag', 'nothing to generate from: expected --calls PATH or --flows');
  const parts = itemsOf(await readParts(flags.calls, deps), 'calls');
  const { estate } = await estateOf(flags, deps);
  const calls = parts.map((part) => callOf(part, estate, flags.namespace ?? 'default'));
  return { ...generate(estate, calls, { dns: flags.dns }), denied: 0 };
}

async function fromFlows(flags: GenerateFlags, deps: CliDeps): Promise<Result> {
  if (flags.calls !== undefined)
    throw new HeddleError('BadFlag', '--calls and --flows: expected one of them');
  const { estate } = await estateOf(flags, deps);
  const seen = await readSeen(flags.flows ?? true, flags.dataDir, deps);
  const isLive = flags.live === true || (flags.file ?? []).length === 0;
  const podRanges = isLive ? await podRangesOf(flags.dataDir) : [];
  const { calls, flows, leftOut } = seenCalls(estate, seen.flows, { podRanges, outside: flags.outside });
  const generated = generate(estate, calls);
  const denied = deniedBy(estate, generated, flows);
  if (seen.lost > 0) deps.stderr.write(`warning: ${seen.lost} records were lost: what they told is denied\n`);
  if (flows.length === 0) deps.stderr.write('warning: no flow was seen: everything is denied\n');
  for (const { why, count, example } of leftOut)
    deps.stderr.write(`warning: ${count} flows left out, like ${example}: ${why}\n`);
  for (const flow of denied) deps.stderr.write(`warning: denied though it was seen: ${flowText(flow)}\n`);
  return { ...generated, denied: denied.length + leftOut.length };
}

/** Nothing of a cluster is needed for files. */
async function podRangesOf(dataDir: string): Promise<readonly string[]> {
  const { readConfig } = await import('../up-request.ts');
  const { clusterPaths } = await import('../../cluster/paths.ts');
  return readConfig(clusterPaths(dataDir))?.podCidrs ?? [];
}

const staged = (policies: Generated['policies'], stage: string | undefined): Generated['policies'] =>
  stage === undefined
    ? policies
    : policies.map((each) => ({ ...each, metadata: { ...each.metadata, labels: { [STAGE]: stage } } }));

async function printPolicies(
  policies: Generated['policies'],
  format: 'yaml' | 'json',
  deps: CliDeps,
): Promise<void> {
  if (format === 'json') {
    const list = { apiVersion: 'v1', kind: 'List', items: policies };
    deps.stdout.write(`${JSON.stringify(list, undefined, 2)}\n`);
    return;
  }
  const { stringify } = await import('yaml');
  const texts = policies.map((each) =>
    stringify(each, { lineWidth: 0, version: '1.1', aliasDuplicateObjects: false }),
  );
  deps.stdout.write(texts.join('---\n'));
}

/** @throws HeddleError `BadManifest` */
function callOf(part: Part, estate: Estate, namespace: string): Call {
  onlyKeys(part, ['from', 'to', 'ports']);
  const [from, to] = (['from', 'to'] as const).map((key) => partyOf(part, key, estate, namespace));
  if ('cidr' in from! && 'cidr' in to!) throw refused(part, 'both ends are outside');
  const ports = part.get('ports');
  const named = (name: string) =>
    'cidr' in to!
      ? []
      : to!.pods
          .flatMap((pod) => pod.ports)
          .filter((port) => port.name === name)
          .map(({ protocol, port }) => ({ protocol, first: port, last: port }))
          .slice(0, 1);
  return { from: from!, to: to!, ports: ports ? portsOf(ports, named) : null };
}

function partyOf(part: Part, key: 'from' | 'to', estate: Estate, namespace: string): Call['from'] {
  const text = textOf(part, key);
  if (tryParseCidr(text)) return { cidr: text };
  const address = tryParseAddress(text);
  if (address) return { cidr: `${text}/${address.family === 4 ? 32 : 128}` };
  try {
    return findWorkload(estate, key, text, namespace);
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    throw new HeddleError('BadManifest', `${part.file}:${part.line}: ${error.message}`, { hint: error.hint });
  }
}

function tell({ differences, beyond }: Generated, { stderr }: Pick<CliDeps, 'stderr'>): void {
  for (const workload of beyond)
    stderr.write(`warning: ${workloadText(workload)} is on its node's network: no policy selects it\n`);
  for (const { src, dst, declared, allowed } of differences)
    stderr.write(
      `warning: ${partyText(src)} → ${partyText(dst)}: declared ${portSetText(declared)}, allowed ${portSetText(allowed)}\n`,
    );
}
