/** Flags that several verbs share, and how their values are read. */
import { isAbsolute } from 'node:path';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { DEFAULT_DATA_DIR } from '../cluster/paths.ts';
import { HeddleError } from '../lib/errors.ts';

export const withDataDir = (command: Command): Command =>
  command
    .option(
      '--data-dir <dir>',
      'where the cluster keeps its data; picks the cluster',
      notEmpty,
      DEFAULT_DATA_DIR,
    )
    .option('--cluster <name>', `the cluster in ${clusterDir('NAME')}`, clusterName)
    // Not by commander's "conflicts": a name sets the folder, and would be in conflict with itself.
    .on('option:data-dir', () => refuseBoth(command))
    .on('option:cluster', (name: string) => {
      refuseBoth(command);
      command.setOptionValueWithSource('dataDir', clusterDir(name), 'cli');
    });

/** @throws HeddleError `BadFlag` */
function refuseBoth(command: Command): void {
  const { cluster, dataDir } = command.opts<{ cluster?: string; dataDir: string }>();
  if (cluster === undefined || command.getOptionValueSource('dataDir') !== 'cli') return;
  if (dataDir === clusterDir(cluster)) return;
  throw new HeddleError(
    'BadFlag',
    `--cluster "${cluster}" and --data-dir "${dataDir}": expected one of them`,
  );
}

/** The data directory of a cluster by its name: those of one machine lie side by side. */
export const clusterDir = (name: string): string => join(dirname(DEFAULT_DATA_DIR), name);

function clusterName(text: string): string {
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text))
    throw new HeddleError(
      'BadFlag',
      `--cluster "${text}": expected a name of lower-case letters, digits and dashes`,
      {
        hint: 'a folder is picked with --data-dir',
      },
    );
  return text;
}

/** An unset variable in a script must not mean the current folder. */
function notEmpty(text: string): string {
  if (text === '') throw new HeddleError('BadFlag', '--data-dir "": expected a folder');
  return text;
}

export const collect = (value: string, previous: string[] = []): string[] => [...previous, value];

/** @throws HeddleError `BadFlag` */
export function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new HeddleError('BadFlag', `${flag} "${text}": expected a whole number from ${min} to ${max}`);
  return value;
}

/** `0.25%` or `0.0025`: 0.0025. @throws HeddleError `BadFlag` */
export function share(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  const value = Number(match?.[1]) / (match?.[2] === '%' ? 100 : 1);
  if (!match || value <= 0 || value > 0.5)
    throw new HeddleError(
      'BadFlag',
      `${flag} "${text}": expected a share of up to 50%, such as 0.5% or 0.005`,
    );
  return value;
}

/** `90`, `90s`, `2m`, `1m30s`: milliseconds. @throws HeddleError `BadFlag` */
export function duration(flag: string, text: string): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$/.exec(text);
  if (text === '' || !match)
    throw new HeddleError('BadFlag', `${flag} "${text}": expected a time such as 90s, 2m or 1m30s`);
  const [hours, minutes, seconds] = [match[1], match[2], match[3]].map((part) => Number(part ?? 0));
  return ((hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0)) * 1000;
}

/** @throws HeddleError `NotRoot` */
export function requireRoot(isRoot: boolean, what: string): void {
  if (!isRoot)
    throw new HeddleError('NotRoot', `${what} needs root`, {
      hint: 'run it with sudo; in a container: --privileged',
    });
}

/** Of `-o`. @throws HeddleError `BadFlag` */
export function outputFormat<T extends string>(
  text: string | undefined,
  allowed: readonly T[],
): T | undefined {
  if (text === undefined) return undefined;
  const found = allowed.find((each) => each === text);
  if (found === undefined) throw new HeddleError('BadFlag', `-o "${text}": expected ${allowed.join(' or ')}`);
  return found;
}

/** @throws HeddleError `BadFlag` */
export function requireAbsolute(flag: string, value: string | undefined): void {
  if (value === undefined || !isAbsolute(value))
    throw new HeddleError('BadFlag', `${flag} "${value}": expected an absolute path`);
}
