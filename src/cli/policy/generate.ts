/** `heddle policy generate`: least-privilege policies from a declared call graph. */
import type { Command } from 'commander';
import { tryParseAddress, tryParseCidr } from '../../lib/ip.ts';
import { partyText } from '../../policy/analyse/connectivity.ts';
import { type Estate, workloadText } from '../../policy/analyse/estate.ts';
import { type Call, type Generated, generate } from '../../policy/analyse/generate.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, estateOf, findWorkload, withEstate } from './common.ts';
import { itemsOf, onlyKeys, type Part, readParts, refused, textOf } from './question-file.ts';
import { portsOf } from './words.ts';

interface GenerateFlags extends EstateFlags {
  calls: string;
  dns: boolean;
}

const examples = `
Examples:
  heddle policy generate -f k8s/ --calls calls.yaml > policies.yaml

The call graph:
  calls:
    - { from: shop/frontend, to: shop/cart, ports: [8080] }
    - { from: 0.0.0.0/0, to: shop/frontend, ports: [http] }
    - { from: shop/cart, to: 198.51.100.0/24, ports: [443, 53/udp] }

Every workload gets a policy, so that nothing passes that is not declared. Policies that are read beside are not looked
at. What labels cannot tell apart is told on stderr.

0 if the policies allow what is declared between workloads and nothing else, 1 if they do not.`;

export function addGenerate(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('generate').description('least-privilege policies from a declared call graph'))
    .requiredOption('--calls <path>', 'the call graph')
    .option('--no-dns', 'without leave to ask the DNS of the cluster')
    .option('-o, --output <format>', 'yaml or json')
    .addHelpText('after', examples)
    .action(async (_: unknown, command: Command) => {
      const flags = command.optsWithGlobals<GenerateFlags>();
      const format = outputFormat(flags.output, ['yaml', 'json']) ?? 'yaml';
      const parts = itemsOf(await readParts(flags.calls, deps), 'calls');
      const { estate } = await estateOf(flags, deps);
      const calls = parts.map((part) => callOf(part, estate, flags.namespace ?? 'default'));
      const generated = generate(estate, calls, { dns: flags.dns });
      await printPolicies(generated, format, deps);
      tell(generated, deps);
      process.exitCode = generated.differences.length === 0 ? answers.yes : answers.no;
    });
}

async function printPolicies({ policies }: Generated, format: 'yaml' | 'json', deps: CliDeps): Promise<void> {
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
