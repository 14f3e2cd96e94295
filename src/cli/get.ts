/** `heddle get`: objects as tables, JSON, YAML or names. */
import type { Command } from 'commander';
import type { KubeObject } from '../api/types.ts';
import { ApiError, errorFromBody } from '../client/api-error.ts';
import { collectionPath, objectPath, withQuery } from '../client/path.ts';
import type { Client } from '../client/types.ts';
import { clusterPaths } from '../cluster/paths.ts';
import { HeddleError } from '../lib/errors.ts';
import { connect } from './connect.ts';
import type { CliDeps } from './deps.ts';
import { outputFormat, withDataDir } from './flags.ts';
import { kindWord, objectWord } from './object-words.ts';
import { writeObjects } from './print-objects.ts';
import { ambiguityNote, type Target, targetsOf } from './resource-words.ts';
import { TABLE_TYPE, type Table, tableLines } from './table.ts';

export interface GetFlags {
  namespace?: string;
  allNamespaces?: boolean;
  selector?: string;
  fieldSelector?: string;
  output?: string;
  showLabels?: boolean;
  headers?: boolean;
  ignoreNotFound?: boolean;
  dataDir: string;
}

const examples = `
Examples:
  heddle get pods -n shop -o wide
  heddle get deploy,svc -A
  heddle get pod/web -o yaml
  heddle get all -l app=web`;

export function register(program: Command, deps: CliDeps): void {
  withDataDir(program.command('get').description('show objects'))
    .argument('<kind...>', 'pods | pods,svc | pod NAME... | pod/NAME svc/NAME... | all')
    .option('-n, --namespace <name>', '(default: default)')
    .option('-A, --all-namespaces', 'of every namespace')
    .option('-l, --selector <labels>', 'such as app=web,tier!=db')
    .option('--field-selector <fields>', 'such as spec.nodeName=node-1')
    .option('-o, --output <format>', 'wide, json, yaml or name')
    .option('--show-labels', 'a column with the labels')
    .option('--no-headers', 'without the first line')
    .option('--ignore-not-found', 'say nothing when an object is not there')
    .addHelpText('after', examples)
    .action((words: string[], flags: GetFlags) => getObjects(words, flags, deps));
}

async function getObjects(words: readonly string[], flags: GetFlags, deps: CliDeps): Promise<void> {
  const targets = targetsOf(words);
  deps.stderr.write(ambiguityNote(words) ?? '');
  const format = outputFormat(flags.output, ['wide', 'json', 'yaml', 'name'] as const);
  if (
    targets.some((t) => t.name !== undefined) &&
    (flags.allNamespaces || flags.selector || flags.fieldSelector)
  )
    throw new HeddleError(
      'BadFlag',
      'an object named by its name cannot be selected by labels, fields or -A as well',
    );
  const client = await connect(clusterPaths(flags.dataDir));
  try {
    const reader = { client, flags, format, deps };
    if (format === 'json' || format === 'yaml') await printObjects(reader, targets, format);
    else if (format === 'name') await printNames(reader, targets);
    else await printTables(reader, targets);
  } finally {
    client.close();
  }
}

interface Reader {
  readonly client: Client;
  readonly flags: GetFlags;
  readonly format: string | undefined;
  readonly deps: CliDeps;
}

function pathOf({ flags }: Reader, { resource, name }: Target): string {
  const namespace =
    resource.kind.namespaced && !flags.allNamespaces ? (flags.namespace ?? 'default') : undefined;
  if (name !== undefined) return objectPath(resource.kind, name, namespace);
  return withQuery(collectionPath(resource.kind, namespace), {
    labelSelector: flags.selector,
    fieldSelector: flags.fieldSelector,
  });
}

/** The answer's JSON; undefined for what is not there, if that is no error. */
async function read(reader: Reader, target: Target, accept?: string): Promise<unknown> {
  const path = pathOf(reader, target);
  const answer = await reader.client.request('GET', path, accept === undefined ? {} : { accept });
  if (answer.status === 404 && target.name !== undefined && reader.flags.ignoreNotFound) return undefined;
  if (answer.status >= 400) throw errorFromBody(answer.status, answer.text, `GET ${path}`);
  return JSON.parse(answer.text);
}

/** Every target is tried; the first error is thrown after the rest was shown. */
async function eachTarget(
  targets: readonly Target[],
  work: (target: Target) => Promise<void>,
  onError: (error: ApiError) => void,
): Promise<void> {
  let failed: ApiError | undefined;
  for (const target of targets) {
    try {
      await work(target);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (failed) onError(error);
      failed ??= error;
    }
  }
  if (failed) throw failed;
}

const complain = (reader: Reader) => (error: ApiError) =>
  reader.deps.stderr.write(`error: ${error.message}\n`);

async function objectsOf(reader: Reader, target: Target): Promise<KubeObject[]> {
  const value = (await read(reader, target)) as (KubeObject & { items?: KubeObject[] | null }) | undefined;
  if (value === undefined) return [];
  if (target.name !== undefined) return [value];
  const { kind } = target.resource;
  // Items of typed lists may come without their kind.
  const apiVersion = kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
  return (value.items ?? []).map((item) => ({ ...item, apiVersion, kind: kind.kind }));
}

async function printObjects(
  reader: Reader,
  targets: readonly Target[],
  format: 'json' | 'yaml',
): Promise<void> {
  const objects: KubeObject[] = [];
  const single = targets.length === 1 && targets[0]?.name !== undefined;
  const collect = async (target: Target) => void objects.push(...(await objectsOf(reader, target)));
  await eachTarget(targets, collect, complain(reader));
  if (single && objects.length === 0) return;
  await writeObjects(objects, format, reader.deps.stdout, { list: !single });
}

async function printNames(reader: Reader, targets: readonly Target[]): Promise<void> {
  const print = async (target: Target): Promise<void> => {
    for (const object of await objectsOf(reader, target))
      reader.deps.stdout.write(`${objectWord(target.resource, object.metadata.name)}\n`);
  };
  await eachTarget(targets, print, complain(reader));
}

async function printTables(reader: Reader, targets: readonly Target[]): Promise<void> {
  const { flags, deps, format } = reader;
  const several = new Set(targets.map((t) => t.resource)).size > 1;
  const groups: { target: Target; table: Table }[] = [];
  const collect = async (target: Target): Promise<void> => {
    const table = (await read(reader, target, TABLE_TYPE)) as Table | undefined;
    const last = groups.at(-1);
    if (!table || table.rows.length === 0) return;
    // Objects of one kind, each asked for by name, are one table.
    if (last && last.target.resource === target.resource)
      last.table = { ...last.table, rows: [...last.table.rows, ...table.rows] };
    else groups.push({ target, table });
  };
  const show = (): void => {
    for (const [i, { target, table }] of groups.entries()) {
      const lines = tableLines(table, {
        wide: format === 'wide',
        namespaces: (flags.allNamespaces ?? false) && target.resource.kind.namespaced,
        labels: flags.showLabels ?? false,
        headers: flags.headers ?? true,
        prefix: several ? `${kindWord(target.resource)}/` : '',
      });
      deps.stdout.write(`${i > 0 ? '\n' : ''}${lines.join('\n')}\n`);
    }
  };
  try {
    await eachTarget(targets, collect, complain(reader));
  } finally {
    show();
  }
  if (groups.length === 0 && targets.every((t) => t.name === undefined))
    deps.stderr.write(`${nothing(reader, targets)}\n`);
}

function nothing({ flags }: Reader, targets: readonly Target[]): string {
  const namespaced = targets.some((t) => t.resource.kind.namespaced);
  if (!namespaced || flags.allNamespaces) return 'No resources found';
  return `No resources found in ${flags.namespace ?? 'default'} namespace.`;
}
