/** `heddle delete`: objects by name, by selector or by manifest; waits until they are gone. */
import type { Command } from 'commander';
import { loadManifests } from '../api/manifest.ts';
import { findKind } from '../api/registry.ts';
import type { Resource } from '../api/resource.ts';
import { ApiError, isNotFound } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { HeddleError } from '../lib/errors.ts';
import { mapLimited } from '../lib/parallel.ts';
import { dryRunOf } from './apply.ts';
import { getIfThere, rankOf } from './apply-plan.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { collect, duration, withDataDir } from './flags.ts';
import { kindWord } from './object-words.ts';
import { ambiguityNote, targetsOf } from './resource-words.ts';

interface DeleteFlags {
  file?: string[];
  recursive?: boolean;
  namespace?: string;
  allNamespaces?: boolean;
  selector?: string;
  all?: boolean;
  wait: boolean;
  timeout: string;
  gracePeriod?: string;
  now?: boolean;
  force?: boolean;
  ignoreNotFound?: boolean;
  dryRun?: string | true;
  dataDir: string;
}

const examples = `
Examples:
  heddle delete -f shop/
  heddle delete pod web-1 web-2 -n shop
  heddle delete deploy,svc -l app=web
  heddle delete pods --all -n shop`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('delete').description('delete objects'))
    .argument('[kind...]', 'pod NAME... | pod/NAME svc/NAME... | pods,svc with -l or --all')
    .option('-f, --file <path>', 'what the manifests name: a file, a folder, or - (repeatable)', collect)
    .option('-R, --recursive', 'folders in folders too')
    .option('-n, --namespace <name>', '(default: default)')
    .option('-A, --all-namespaces', 'of every namespace, with -l or --all')
    .option('-l, --selector <labels>', 'such as app=web,tier!=db')
    .option('--all', 'every object of the kinds')
    .option('--no-wait', 'do not wait until they are gone')
    .option('--timeout <time>', 'how long to wait', '120s')
    .option('--grace-period <seconds>', 'for pods to end')
    .option('--now', 'the same as --grace-period 1')
    .option('--force', 'the same as --grace-period 0')
    .option('--ignore-not-found', 'an object that is not there is no error')
    .option('--dry-run [where]', 'delete nothing')
    .addHelpText('after', examples)
    .action((words: string[], flags: DeleteFlags) => deleteObjects(words, flags, deps));
}

interface Victim {
  readonly resource: Resource;
  readonly name: string;
  readonly namespace: string | undefined;
}

async function deleteObjects(words: readonly string[], flags: DeleteFlags, deps: CliDeps): Promise<void> {
  const timeout = duration('--timeout', flags.timeout);
  const grace = graceOf(flags);
  const dryRun = dryRunOf(flags.dryRun) !== undefined;
  const fromFiles = (flags.file?.length ?? 0) > 0;
  if (fromFiles === words.length > 0)
    throw new HeddleError('BadFlag', 'expected either kinds and names, or -f with manifests');
  const named = fromFiles ? await victimsOfFiles(flags, deps) : undefined;
  if (!fromFiles) checkSelection(words, flags);
  deps.stderr.write(ambiguityNote(words) ?? '');
  const client = await connect(clusterPaths(flags.dataDir));
  try {
    const victims = named ?? (await victimsOfWords(client, words, flags));
    if (victims.length === 0) deps.stdout.write('No resources found\n');
    const { gone, failures } = await deleteEach({ client, flags, deps, grace, dryRun }, victims);
    const stuck = flags.wait && !dryRun ? await waitUntilGone(client, gone, timeout) : undefined;
    if (stuck && failures.length === 0) throw stuck;
    if (stuck) failures.push(stuck.message);
    if (failures.length > 0)
      throw new HeddleError('DeleteFailed', failures.join('\n  '), {
        hint: failures.some((text) => text.endsWith(' not found'))
          ? '--ignore-not-found passes over what is not there'
          : undefined,
      });
  } finally {
    client.close();
  }
}

interface Deleting {
  readonly client: Client;
  readonly flags: DeleteFlags;
  readonly deps: CliDeps;
  readonly grace: { gracePeriodSeconds?: number };
  readonly dryRun: boolean;
}

interface Gone {
  readonly victim: Victim;
  readonly uid: string | undefined;
}

/** Every victim is tried; what the server says against one is a failure. */
async function deleteEach(
  deleting: Deleting,
  victims: readonly Victim[],
): Promise<{ gone: Gone[]; failures: string[] }> {
  const { client, flags, deps, grace, dryRun } = deleting;
  const gone: Gone[] = [];
  const failures: string[] = [];
  for (const victim of victims) {
    const { kind } = victim.resource;
    try {
      const live = await client.get(kind, victim.name, victim.namespace);
      if (!dryRun) await client.delete(kind, victim.name, victim.namespace, grace);
      gone.push({ victim, uid: live.metadata.uid });
      deps.stdout.write(`${deletedText(victim)}${dryRun ? ' (dry run)' : ''}\n`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!(isNotFound(error) && flags.ignoreNotFound)) failures.push(error.message);
    }
  }
  return { gone, failures };
}

function graceOf(flags: DeleteFlags): { gracePeriodSeconds?: number } {
  if (flags.force) return { gracePeriodSeconds: 0 };
  if (flags.now) return { gracePeriodSeconds: 1 };
  if (flags.gracePeriod === undefined) return {};
  const seconds = Number(flags.gracePeriod);
  if (!/^\d+$/.test(flags.gracePeriod))
    throw new HeddleError('BadFlag', `--grace-period "${flags.gracePeriod}": expected seconds`);
  return { gracePeriodSeconds: seconds };
}

const deletedText = ({ resource, name, namespace }: Victim): string =>
  `${kindWord(resource)} "${name}" deleted${namespace === undefined ? '' : ` from ${namespace} namespace`}`;

/** Last applied goes first, namespaces at the end. */
async function victimsOfFiles(flags: DeleteFlags, deps: CliDeps): Promise<Victim[]> {
  const entries = await loadManifests(flags.file ?? [], {
    ...(flags.namespace === undefined ? {} : { namespace: flags.namespace }),
    recursive: flags.recursive ?? false,
    stdin: deps.stdin as AsyncIterable<Uint8Array | string>,
  });
  return entries
    .toSorted((a, b) => rankOf(b.object) - rankOf(a.object))
    .flatMap(({ object }) => {
      const resource = findKind(object.apiVersion, object.kind);
      return resource ? [{ resource, name: object.metadata.name, namespace: object.metadata.namespace }] : [];
    });
}

function checkSelection(words: readonly string[], flags: DeleteFlags): void {
  const whole = targetsOf(words).some((t) => t.name === undefined);
  const selected = flags.all === true || flags.selector !== undefined;
  if (whole && !selected)
    throw new HeddleError('BadFlag', 'no name given', {
      hint: 'name the objects, or select them with -l or --all',
    });
  if (!whole && selected) throw new HeddleError('BadFlag', 'names cannot be given together with -l or --all');
}

async function victimsOfWords(
  client: Client,
  words: readonly string[],
  flags: DeleteFlags,
): Promise<Victim[]> {
  const victims: Victim[] = [];
  for (const { resource, name } of targetsOf(words)) {
    const { kind } = resource;
    const namespace = kind.namespaced && !flags.allNamespaces ? (flags.namespace ?? 'default') : undefined;
    if (name !== undefined)
      victims.push({
        resource,
        name,
        namespace: kind.namespaced ? (flags.namespace ?? 'default') : undefined,
      });
    else {
      const options = {
        ...(namespace ? { namespace } : {}),
        ...(flags.selector ? { labelSelector: flags.selector } : {}),
      };
      const { items } = await client.list(kind, options);
      victims.push(
        ...items.map((o) => ({ resource, name: o.metadata.name, namespace: o.metadata.namespace })),
      );
    }
  }
  return victims;
}

/** Milliseconds between looks. */
const FIRST_LOOK = 50;
const LAST_LOOK = 1000;

/** Gone, or another object of the same name; else HeddleError `NotGone`. */
async function waitUntilGone(
  client: Client,
  gone: readonly Gone[],
  timeout: number,
): Promise<HeddleError | undefined> {
  const deadline = performance.now() + timeout;
  const left = await mapLimited(gone, 8, async ({ victim, uid }): Promise<string[]> => {
    for (let pause = FIRST_LOOK; ; pause = Math.min(pause * 2, LAST_LOOK)) {
      const live = await getIfThere(client, victim.resource, victim.name, victim.namespace);
      if (!live || (uid !== undefined && live.metadata.uid !== uid)) return [];
      if (performance.now() + pause > deadline)
        return [`${kindWord(victim.resource)} "${victim.name}"${why(live)}`];
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  });
  const names = left.flat();
  if (names.length === 0) return undefined;
  return new HeddleError('NotGone', `still there after ${timeout / 1000} s: ${names.join(', ')}`, {
    hint: 'they are marked for deletion and go when whoever holds them lets go',
  });
}

function why(live: { metadata: { finalizers?: string[] } }): string {
  const held = live.metadata.finalizers ?? [];
  return held.length > 0 ? ` (held by ${held.join(', ')})` : '';
}
