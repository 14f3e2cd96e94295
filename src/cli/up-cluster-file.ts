/** `kind: Cluster` among the manifests of `up`, and what it says instead of flags. */
import { dirname, isAbsolute, join } from 'node:path';
import type { Command } from 'commander';
import type { ManifestObject } from '../api/manifest.ts';
import { type ClusterFile, type FileOption, readClusterFile } from '../cluster/cluster-file.ts';
import { HeddleError } from '../lib/errors.ts';
import { collect, clusterDir } from './flags.ts';
import type { UpFlags } from './up-request.ts';

/** Said by the file in words of its own, or of no use in it. */
const NOT_IN_FILE = new Set(['nodes', 'file', 'config', 'cluster']);

/** Flags of `up` that a file may give: each of them, by its name in camel case. */
export const fileOptions = (command: Command): FileOption[] =>
  command.options
    .map((option) => ({ name: option.attributeName(), option }))
    .filter(({ name }) => !NOT_IN_FILE.has(name))
    .map(({ name, option }) => ({
      name,
      kind: option.isBoolean() || option.negate ? 'boolean' : option.parseArg === collect ? 'list' : 'text',
    }));

/** @throws HeddleError `BadManifest` where there are several, or one is wrong */
export function clusterFileOf(found: readonly ManifestObject[], command: Command): ClusterFile | undefined {
  const [first, second] = found;
  if (second)
    throw new HeddleError(
      'BadManifest',
      `${second.file}:${second.line}: Cluster ${second.object.metadata?.name}: there is one at ${first?.file}:${first?.line} already; expected one cluster`,
    );
  return first && readClusterFile(first, fileOptions(command));
}

/** The flags as given, and what the file says where they say nothing. */
export function withClusterFile(flags: UpFlags, file: ClusterFile | undefined, command: Command): UpFlags {
  if (!file) return flags;
  const given = (name: string) => command.getOptionValueSource(name) === 'cli';
  const picked = given('dataDir') ? {} : { dataDir: clusterDir(file.name) };
  const said = Object.entries(file.options).filter(([name]) => !given(name));
  const { dataDir, ...rest } = Object.fromEntries(said);
  const own = typeof dataDir === 'string' ? { dataDir: besides(file, dataDir) } : picked;
  return { ...flags, ...rest, ...own };
}

/** Paths of a file are relative to its folder. */
export const besides = ({ file }: ClusterFile, path: string): string =>
  isAbsolute(path) ? path : join(dirname(file), path);

/** What is refused of a flag that the file gave is refused at its line. */
export function inClusterFile<T>(file: ClusterFile | undefined, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!file || !(error instanceof HeddleError)) throw error;
    const fields = ['nodes', ...Object.keys(file.options)];
    const field = fields.find((name) => new RegExp(`${flagOf(name)}(?![-a-z])`).test(error.message));
    if (field === undefined || (field === 'nodes' && file.nodes === undefined)) throw error;
    const { code, message, hint } = error;
    throw new HeddleError(code, `${file.file}:${file.lineOf(`spec.${field}`)}: spec.${field}: ${message}`, {
      hint,
    });
  }
}

const flagOf = (name: string): string =>
  `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
