/** `heddle apply`: objects from manifests, made or changed as `kubectl apply` does. */
import type { Command } from 'commander';
import type { ManifestObject } from '../api/manifest.ts';
import { loadManifests } from '../api/manifest.ts';
import { findUnsupported, summariseUnsupported } from '../api/unsupported.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { HeddleError } from '../lib/errors.ts';
import { type Applied, applyObjects, type DryRun } from './apply-objects.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { collect, outputFormat, withDataDir } from './flags.ts';
import { writeObjects } from './print-objects.ts';

interface ApplyFlags {
  file?: string[];
  recursive?: boolean;
  namespace?: string;
  dryRun?: string | true;
  output?: string;
  dataDir: string;
}

const examples = `
Examples:
  heddle apply -f shop/               every manifest of a folder
  heddle apply -f web.yaml -n shop    objects without a namespace go to "shop"
  helm template ./chart | heddle apply -f -

Everything is checked before anything is sent. heddle apply and kubectl apply keep their notes in the same
place, so both may be used on one object.`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('apply').description('make or change objects from manifests'))
    .requiredOption('-f, --file <path>', 'a file, a folder, or - for stdin (repeatable)', collect)
    .option('-R, --recursive', 'folders in folders too')
    .option('-n, --namespace <name>', 'for objects that name none (default: default)')
    .option('--dry-run [where]', 'change nothing: "client" works it out here, "server" asks the API server')
    .option('-o, --output <format>', 'name, json or yaml')
    .addHelpText('after', examples)
    .action((flags: ApplyFlags) => apply(flags, deps));
}

async function apply(flags: ApplyFlags, deps: CliDeps): Promise<void> {
  const format = outputFormat(flags.output, ['name', 'json', 'yaml'] as const);
  const dryRun = dryRunOf(flags.dryRun);
  const entries = await loadManifests(flags.file ?? [], {
    ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }),
    recursive: flags.recursive ?? false,
    stdin: deps.stdin as AsyncIterable<Uint8Array | string>,
  });
  warnUnsupported(entries, deps);
  const client = await connect(clusterPaths(flags.dataDir));
  try {
    const print = (applied: Applied) => deps.stdout.write(`${line(applied, dryRun, format)}\n`);
    const shown = format === undefined || format === 'name';
    const applied = await applyObjects(client, entries, { dryRun, ...(shown ? { onApplied: print } : {}) });
    if (format === 'json' || format === 'yaml')
      await writeObjects(
        applied.map((a) => a.object),
        format,
        deps.stdout,
      );
  } finally {
    client.close();
  }
}

function line({ name, outcome }: Applied, dryRun: DryRun, format: string | undefined): string {
  if (format === 'name') return name;
  const suffix = dryRun === undefined ? '' : dryRun === 'client' ? ' (dry run)' : ' (server dry run)';
  return `${name} ${outcome}${suffix}`;
}

/** `--dry-run` alone is `client`. @throws HeddleError `BadFlag` */
export function dryRunOf(value: string | true | undefined): DryRun {
  if (value === undefined || value === 'none') return undefined;
  if (value === true || value === 'client') return 'client';
  if (value === 'server') return 'server';
  throw new HeddleError('BadFlag', `--dry-run "${value}": expected client or server`);
}

/** What the cluster will not act on, said before anything happens. */
function warnUnsupported(entries: readonly ManifestObject[], deps: Pick<CliDeps, 'stderr'>): void {
  const lines = summariseUnsupported(findUnsupported(entries));
  for (const text of lines) deps.stderr.write(`warning: ${text}\n`);
}
