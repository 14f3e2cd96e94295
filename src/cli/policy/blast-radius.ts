/** `heddle policy blast-radius`: who is within reach of a pod that has fallen. */
import type { Command } from 'commander';
import { type BlastRadius, blastRadius } from '../../policy/analyse/blast-radius.ts';
import { partyText } from '../../policy/analyse/connectivity.ts';
import type { Workload } from '../../policy/analyse/estate.ts';
import { allowedOf, portSetText } from '../../policy/analyse/port-set.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat, wholeNumber } from '../flags.ts';
import {
  answers,
  type EstateFlags,
  estateOf,
  findWorkload,
  printValue,
  withEstate,
  writeAll,
} from './common.ts';
import { GRAPH_FORMATS } from './connectivity.ts';
import { drawing, tableIn } from './render-graph.ts';

interface BlastFlags extends EstateFlags {
  declared?: boolean;
  hops?: string;
  max?: string;
  ipv6?: boolean;
}

const examples = `
Examples:
  heddle policy blast-radius -f k8s/ shop/frontend
  heddle policy blast-radius -f k8s/ shop/frontend --declared --max 3     for CI

What it reaches at once, and what those reach that fall next. With --declared only ports that containers declare count.

0; with --max 1 if more workloads are within reach.`;

export function addBlastRadius(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('blast-radius').description('who is within reach of a pod that has fallen'))
    .argument('<pod>', 'a workload or a pod')
    .option('--declared', 'only ports that containers declare')
    .option('--hops <n>', 'so many connections at most')
    .option('--max <n>', 'so many workloads may be within reach')
    .option('--ipv6', 'addresses outside in IPv6')
    .option('-o, --output <format>', `${GRAPH_FORMATS.join(', ')} (docs/schemas/policy-blast-radius.json)`)
    .addHelpText('after', examples)
    .action(async (pod: string, _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<BlastFlags>();
      const format = outputFormat(flags.output, GRAPH_FORMATS) ?? 'text';
      const limit = (flag: string, text: string | undefined) =>
        text === undefined ? undefined : wholeNumber(flag, text, 0, 1_000_000);
      const [hops, max] = [limit('--hops', flags.hops), limit('--max', flags.max)];
      const { estate } = await estateOf(flags, deps);
      const from = findWorkload(estate, 'blast-radius', pod, flags.namespace ?? 'default');
      const family = flags.ipv6 ? 6 : 4;
      const result = blastRadius(estate, from, { declared: flags.declared ?? false, hops, family });
      await print(result, format, deps);
      process.exitCode = max !== undefined && result.reached.length > max ? answers.no : answers.yes;
    });
}

const refOf = ({ namespace, name, kind }: Workload) => ({ namespace, name, kind });

export const blastOutput = ({ from, reached, safe, outside }: BlastRadius) => ({
  from: refOf(from),
  reached: reached.map(({ workload, hops, via, set }) => ({
    workload: refOf(workload),
    hops,
    via: refOf(via),
    allowed: allowedOf(set),
  })),
  safe: safe.map(refOf),
  outside: outside.map(({ range, set }) => ({ ...range, allowed: allowedOf(set) })),
});

async function print(
  result: BlastRadius,
  format: (typeof GRAPH_FORMATS)[number],
  deps: CliDeps,
): Promise<void> {
  const { from, reached, safe, outside } = result;
  if (format === 'json' || format === 'yaml') return printValue(blastOutput(result), format, deps);
  if (format === 'dot' || format === 'svg') {
    const rows = reached.map(({ workload, via, set }) => ({
      src: partyText(via),
      dst: partyText(workload),
      label: portSetText(set),
      group: { src: via.namespace, dst: workload.namespace },
    }));
    return writeAll([drawing(format, rows)], deps.stdout);
  }
  const rows = reached.map(({ workload, hops, via, set }) => [
    `${hops}`,
    partyText(workload),
    partyText(via),
    portSetText(set),
  ]);
  const table = tableIn(format, ['HOPS', 'REACHED', 'BY WAY OF', 'ON'], rows);
  if (format !== 'text') return writeAll([table], deps.stdout);
  const total = reached.length + safe.length;
  const out = outside.map(({ range, set }) => `  ${partyText(range)}: ${portSetText(set)}\n`);
  return writeAll(
    [
      `${partyText(from)} has ${reached.length} of ${total} other workloads within reach\n`,
      reached.length > 0 ? `\n${table}` : '',
      out.length > 0 ? `\nand outside:\n${out.join('')}` : '\nand nothing outside\n',
    ],
    deps.stdout,
  );
}
