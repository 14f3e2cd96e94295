/** `heddle tune show|apply|reset`: kernel settings of nodes by profile, leased and given back. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { lockHolder, isHolderAlive } from '../cluster/lock.ts';
import { clusterPaths, type ClusterPaths } from '../cluster/paths.ts';
import { hasRuntime } from '../cluster/teardown.ts';
import { closeNetns } from '../kernel/netns.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { holderLives, hostPlace, nodePlaces } from '../tuning/places.ts';
import { builtInProfiles, type TuningProfile } from '../tuning/profile.ts';
import { parseProfile } from '../tuning/profile-file.ts';
import {
  applyTuning,
  endDeadLeases,
  resetTuning,
  showTuning,
  type TuneDeps,
  type TuneRow,
} from '../tuning/tune.ts';
import type { CliDeps } from './deps.ts';
import { collect, outputFormat, requireRoot, withDataDir } from './flags.ts';
import { plainTable } from './plain-table.ts';
import { readConfig } from './up-request.ts';

const examples = `
Examples:
  heddle tune show                                 each setting: now, profile, what it was, why
  heddle tune apply --profile throughput           what each node owns, on every node
  heddle tune apply --profile throughput --host    the whole machine's settings too, until the cluster is down
  heddle tune apply --file mine.yaml --node node-1 --dry-run
  heddle tune reset                                all as it was

Settings that belong to the whole machine act on everything that runs on it. They are leased: the newest holder's
value is in force, the last one to go restores what was there before the first.`;

interface TuneFlags {
  dataDir: string;
  profile?: string;
  file?: string;
  node?: string[];
  host?: boolean;
  dryRun?: boolean;
  output?: string;
}

export function register(program: Command, deps: CliDeps): void {
  const tune = withDataDir(program.command('tune').description('show and set the kernel’s network settings'))
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', examples);
  const verb = (name: string, description: string): Command =>
    tune
      .command(name)
      .description(description)
      .option('--node <name>', 'of this node only; may be given again', collect)
      .option('-o, --output <format>', 'json (docs/schemas/tune.json)');
  const profiled = (command: Command): Command =>
    command
      .option(
        '--profile <name>',
        `one that is built in: ${builtInProfiles.map(({ name }) => name).join(', ')}`,
      )
      .option('--file <path>', 'a profile of one’s own (kind: TuningProfile)');
  profiled(verb('show', 'each setting: value now, profile’s value, what it was, reason, holder'))
    .option('--host', 'as for apply; showing includes them anyway')
    .action((_: unknown, command: Command) => run(command, deps, 'show'));
  profiled(verb('apply', 'set and lease them'))
    .option('--host', 'settings of the whole machine too')
    .option('--dry-run', 'say what would be done')
    .action((_: unknown, command: Command) => run(command, deps, 'apply'));
  verb('reset', 'end this cluster’s leases; what nobody else leases is restored')
    .option('--dry-run', 'say what would be done')
    .action((_: unknown, command: Command) => run(command, deps, 'reset'));
}

async function run(command: Command, deps: CliDeps, what: 'show' | 'apply' | 'reset'): Promise<void> {
  const flags = command.optsWithGlobals<TuneFlags>();
  const format = outputFormat(flags.output, ['json']);
  const profile = profileOf(flags);
  requireRoot(deps.isRoot, 'reading and setting the kernel’s settings of nodes');
  const paths = clusterPaths(flags.dataDir);
  const { places, netns } = nodePlaces(nodesOf(paths, flags), paths);
  try {
    const supervisor = supervisorOf(paths);
    const tuneDeps: TuneDeps = {
      nodes: places,
      host: hostPlace(paths.id, supervisor),
      isAlive: holderLives,
      now: Date.now,
    };
    if (what === 'apply' && flags.host && supervisor === undefined) throw unsupervised(paths);
    if (!flags.dryRun) await endDeadLeases(tuneDeps.host, tuneDeps);
    // Without nodes named, the whole machine's leases of this cluster end too.
    const options = {
      dryRun: flags.dryRun === true,
      host: what === 'reset' ? flags.node === undefined : flags.host === true,
    };
    const rows =
      what === 'show'
        ? showTuning(tuneDeps, profile)
        : what === 'apply'
          ? await applyTuning(tuneDeps, profile, options)
          : await resetTuning(tuneDeps, options);
    const output = {
      cluster: paths.id,
      profile: what === 'reset' ? null : profile.name,
      ...dry(flags),
      rows,
    };
    deps.stdout.write(format ? `${JSON.stringify(output, undefined, 2)}\n` : text(output.rows, what, flags));
  } finally {
    for (const ns of netns) closeNetns(ns);
  }
}

const dry = ({ dryRun }: TuneFlags): { dryRun: boolean } => ({ dryRun: dryRun === true });

/** @throws HeddleError `BadFlag`, `BadProfile` */
function profileOf(flags: TuneFlags): TuningProfile {
  if (flags.file !== undefined && flags.profile !== undefined)
    throw new HeddleError('BadFlag', '--profile and --file: one of them');
  if (flags.file !== undefined) return parseProfile(readProfile(flags.file), flags.file);
  const name = flags.profile ?? 'throughput';
  const profile = builtInProfiles.find((each) => each.name === name);
  if (profile) return profile;
  throw new HeddleError(
    'BadFlag',
    `--profile "${name}": expected ${builtInProfiles.map((each) => each.name).join(' or ')}`,
    { hint: 'a profile of your own is given by --file' },
  );
}

function readProfile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new HeddleError('BadProfile', `cannot read ${path}: ${errorText(error)}`);
  }
}

/** @throws HeddleError `NoCluster`, `BadFlag` */
function nodesOf(paths: ClusterPaths, flags: TuneFlags): string[] {
  const config = hasRuntime(paths) ? readConfig(paths) : undefined;
  if (!config)
    throw new HeddleError('NoCluster', `there is no cluster in ${paths.dataDir} that runs`, {
      hint: 'start one with "heddle up", or name another with --data-dir',
    });
  const all = config.nodes.map(({ name }) => name);
  const unknown = flags.node?.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new HeddleError('BadFlag', `--node "${unknown}": expected ${all.join(' or ')}`);
  return flags.node ?? all;
}

function supervisorOf(paths: ClusterPaths): number | undefined {
  const holder = lockHolder(paths.lock);
  return holder && isHolderAlive(holder) && holder.what === 'supervisor' ? holder.pid : undefined;
}

const unsupervised = (paths: ClusterPaths): HeddleError =>
  new HeddleError(
    'TuningRefused',
    `settings of the whole machine are leased for as long as a cluster's supervisor lives; that of ${paths.dataDir} does not run`,
    { hint: '"heddle down" and "heddle up" bring it back' },
  );

const actionWords: Readonly<Record<string, string>> = {
  write: 'set',
  restore: 'restored',
  leave: 'left: changed by somebody else since',
  skip: 'left out: this kernel has no such setting',
  none: 'kept as it is',
  host: 'left out: the whole machine’s (--host)',
};

function text(rows: readonly TuneRow[], what: string, flags: TuneFlags): string {
  if (rows.length === 0) return what === 'reset' ? 'nothing is leased\n' : 'nothing to show\n';
  const done = what !== 'show';
  const head = ['WHERE', 'SETTING', 'NOW', 'PROFILE', 'WAS', ...(done ? ['DONE'] : ['HELD BY'])];
  const lines = plainTable([
    head,
    ...rows.map((row) => [
      row.place,
      row.key,
      row.now ?? '<missing>',
      row.profile ?? '-',
      row.was ?? '-',
      done
        ? `${flags.dryRun && row.action ? 'would be ' : ''}${actionWords[row.action ?? ''] ?? '-'}`
        : row.holders.join(', ') || '-',
    ]),
  ]);
  const reasons = new Map(rows.map(({ key, reason, scope }) => [key, `${reason} (${scopeWords[scope]})`]));
  const why = what === 'show' ? ['', ...[...reasons].map(([key, reason]) => `${key}: ${reason}`)] : [];
  const note = flags.dryRun ? ['', 'nothing was changed (--dry-run)'] : [];
  return `${[...lines, ...why, ...note].join('\n')}\n`;
}

const scopeWords: Readonly<Record<TuneRow['scope'], string>> = {
  namespace: 'each node’s own',
  host: 'the whole machine’s',
  missing: 'not in this kernel; a module may bring it',
};
