/** What the verbs of `heddle policy` share: their flags, and how results are printed. */
import type { Command } from 'commander';
import { HeddleError } from '../../lib/errors.ts';
import { type Estate, type Workload, workloadsCalled, workloadText } from '../../policy/analyse/estate.ts';
import type { CliDeps } from '../deps.ts';
import { collect } from '../flags.ts';
import { type EstateSource, type LoadedEstate, loadEstate } from './read-estate.ts';

export interface EstateFlags {
  dataDir: string;
  file?: string[];
  live?: boolean;
  namespace?: string;
  output?: string;
}

/** Exit codes of questions: the shell can ask them. */
export const answers = { yes: 0, no: 1 } as const;

export const withEstate = (command: Command): Command =>
  command
    .option('-f, --file <path>', 'a file, a folder (with those in it), or - for stdin; repeatable', collect)
    .option('--live', 'the running cluster; with -f, the cluster with these files applied')
    .option('-n, --namespace <name>', 'of objects and names that say none (default: default)');

export const sourceOf = (flags: EstateFlags): EstateSource => ({
  files: flags.file ?? [],
  live: flags.live ?? false,
  dataDir: flags.dataDir,
  namespace: flags.namespace ?? 'default',
});

/** Without -f it is the cluster that is meant, as with every other verb. */
export const estateOf = (flags: EstateFlags, deps: CliDeps): Promise<LoadedEstate> =>
  loadEstate({ ...sourceOf(flags), live: flags.live ?? (flags.file ?? []).length === 0 }, deps);

/**
 * `NAMESPACE/NAME`, `NAME`, `NAMESPACE/KIND/NAME`: a workload or a pod of one.
 * @throws HeddleError `BadFlag`
 */
export function findWorkload(estate: Estate, flag: string, text: string, namespace: string): Workload {
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  const where = parts.length > 1 ? parts[0]! : namespace;
  const kind = parts.length === 3 ? parts[1] : undefined;
  const found = workloadsCalled(estate, { namespace: where, name, kind });
  if (found.length === 1) return found[0]!;
  if (found.length > 1)
    throw new HeddleError('BadFlag', `${flag} "${text}": may be ${found.map(workloadText).join(' or ')}`, {
      hint: 'say which: NAMESPACE/KIND/NAME',
    });
  const near = estate.workloads.filter((workload) => workload.name === name).map(workloadText);
  const hint = near.length > 0 ? { hint: `there is ${near.join(', ')}` } : hintOf(estate);
  throw new HeddleError(
    'BadFlag',
    `${flag} "${text}": no workload or pod of this name in namespace ${where}`,
    hint,
  );
}

function hintOf({ workloads }: Estate): { hint?: string } {
  if (workloads.length === 0) return { hint: 'nothing that was read has pods' };
  const names = workloads.slice(0, 8).map(({ namespace, name }) => `${namespace}/${name}`);
  return { hint: `there is ${names.join(', ')}${workloads.length > names.length ? ', …' : ''}` };
}

/** Values to JSON or YAML. */
export async function printValue(value: unknown, format: 'json' | 'yaml', deps: CliDeps): Promise<void> {
  if (format === 'json') {
    deps.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
    return;
  }
  const { stringify } = await import('yaml');
  deps.stdout.write(stringify(value, { lineWidth: 0, version: '1.1', aliasDuplicateObjects: false }));
}

/** Long results in parts: a string has a limit, and a reader that ends early is not kept waiting. */
export async function writeAll(parts: Iterable<string>, out: NodeJS.WritableStream): Promise<void> {
  let buffer = '';
  const flush = async () => {
    const text = buffer;
    buffer = '';
    if (!out.write(text)) await new Promise((resolve) => out.once('drain', resolve));
  };
  for (const part of parts) {
    buffer += part;
    if (buffer.length > 65_536) await flush();
  }
  await flush();
}
