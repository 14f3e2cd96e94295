/** `heddle policy diff`: what a change of policies opens and closes. */
import type { Command } from 'commander';
import { partyText } from '../../policy/analyse/connectivity.ts';
import { type Change, changeKind, changeOutput, diff } from '../../policy/analyse/diff.ts';
import { type Estate, type Workload, workloadKey } from '../../policy/analyse/estate.ts';
import { portSetText } from '../../policy/analyse/port-set.ts';
import { HeddleError } from '../../lib/errors.ts';
import type { CliDeps } from '../deps.ts';
import { outputFormat } from '../flags.ts';
import { answers, type EstateFlags, printValue, sourceOf, withEstate, writeAll } from './common.ts';
import { GRAPH_FORMATS, groupOfParty } from './connectivity.ts';
import { loadEstate } from './read-estate.ts';
import { drawing, type GraphRow, tableIn } from './render-graph.ts';

interface DiffFlags extends EstateFlags {
  ipv6?: boolean;
}

const examples = `
Examples:
  heddle policy diff main/k8s/ branch/k8s/
  heddle policy diff -f app/ old-policies/ new-policies/    -f is part of both
  heddle policy diff --live changed/                        the running cluster, and it with these files applied
  heddle policy diff main/k8s/ branch/k8s/ -o md            for a comment on a merge request

0 if nothing differs, 1 if something does.`;

export function addDiff(policy: Command, deps: CliDeps): void {
  withEstate(policy.command('diff').description('what a change opens and closes'))
    .argument('<path...>', 'OLD NEW, or with --live NEW')
    .option('--ipv6', 'external ranges, and addresses of pods, in IPv6')
    .option('-o, --output <format>', `${GRAPH_FORMATS.join(', ')} (docs/schemas/policy-diff.json)`)
    .addHelpText('after', examples)
    .action(async (paths: string[], _: unknown, command: Command) => {
      const flags = command.optsWithGlobals<DiffFlags>();
      const format = outputFormat(flags.output, GRAPH_FORMATS) ?? 'text';
      const [before, after] = await bothEstates(paths, flags, deps);
      const changes = [...diff(before, after, { family: flags.ipv6 ? 6 : 4 })];
      const workloads = { added: only(after, before), removed: only(before, after) };
      if (format === 'json' || format === 'yaml')
        await printValue(diffOutput(workloads, changes), format, deps);
      else await writeAll([diffText(format, changes)], deps.stdout);
      process.exitCode = changes.length === 0 ? answers.yes : answers.no;
    });
}

async function bothEstates(
  paths: readonly string[],
  flags: DiffFlags,
  deps: CliDeps,
): Promise<[Estate, Estate]> {
  const source = sourceOf(flags);
  const expected = source.live ? 1 : 2;
  if (paths.length !== expected)
    throw new HeddleError(
      'BadFlag',
      `diff takes ${source.live ? 'one path with --live: NEW' : 'two paths: OLD NEW'}, not ${paths.length}`,
    );
  const load = async (more: readonly string[]) => {
    const files = [...source.files, ...more];
    return (await loadEstate({ ...source, files }, deps)).estate;
  };
  if (source.live) return [await load([]), await load(paths)];
  return [await load([paths[0]!]), await load([paths[1]!])];
}

function only(here: Estate, there: Estate): Workload[] {
  const known = new Set(there.workloads.map(workloadKey));
  return here.workloads.filter((workload) => !known.has(workloadKey(workload)));
}

interface WorkloadChanges {
  readonly added: readonly Workload[];
  readonly removed: readonly Workload[];
}

const refOf = ({ namespace, name, kind }: Workload) => ({ namespace, name, kind });

export const diffOutput = ({ added, removed }: WorkloadChanges, changes: readonly Change[]) => ({
  workloads: { added: added.map(refOf), removed: removed.map(refOf) },
  changes: changes.map(changeOutput),
});

function diffText(format: 'text' | 'csv' | 'md' | 'dot' | 'svg', changes: readonly Change[]): string {
  if (format === 'dot' || format === 'svg') return drawing(format, changes.map(graphRow));
  if (format === 'text' && changes.length === 0) return 'nothing differs\n';
  const rows = changes.map((change) => [
    changeKind(change),
    partyText(change.src),
    partyText(change.dst),
    portSetText(change.before),
    portSetText(change.after),
  ]);
  return tableIn(format, ['CHANGE', 'FROM', 'TO', 'BEFORE', 'AFTER'], rows);
}

function graphRow(change: Change): GraphRow {
  const { src, dst, before, after } = change;
  const kind = changeKind(change);
  const labels = {
    added: portSetText(after),
    removed: portSetText(before),
    changed: `${portSetText(before)} → ${portSetText(after)}`,
  };
  return {
    src: partyText(src),
    dst: partyText(dst),
    label: labels[kind],
    group: { src: groupOfParty(src), dst: groupOfParty(dst) },
    change: kind,
  };
}
