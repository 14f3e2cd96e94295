/** A profile of one's own, `kind: TuningProfile`, from YAML or JSON. */
import { parseDocument } from 'yaml';
import { errorText, HeddleError } from '../lib/errors.ts';
import { isObject } from '../lib/json.ts';
import type { TuningKey, TuningProfile } from './profile.ts';

const API_VERSION = 'heddle.dev/v1alpha1';
const KIND = 'TuningProfile';

/** Only the network's settings, and no way out of their folder. */
const KEY = /^net(?:\.[a-z0-9_-]+){2,}$|^net(?:\/[A-Za-z0-9_.@-]+){2,}$/;
const VALUE = /^[\x20-\x7e]{1,256}$/;
const MAX_KEYS = 256;

/** @param file what to call it in errors. @throws HeddleError `BadProfile` with every problem that was found */
export function parseProfile(text: string, file: string): TuningProfile {
  const problems: string[] = [];
  const root = readYaml(text, file);
  if (!isObject(root)) throw badProfile(file, ['expected an object']);
  if (root['apiVersion'] !== API_VERSION || root['kind'] !== KIND)
    throw badProfile(file, [`expected apiVersion: ${API_VERSION} and kind: ${KIND}`]);
  unknownFields(root, ['apiVersion', 'kind', 'metadata', 'spec'], '', problems);
  const metadata = isObject(root['metadata']) ? root['metadata'] : {};
  const name = metadata['name'];
  if (typeof name !== 'string' || !/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/.test(name))
    problems.push('metadata.name: expected lower-case letters, digits, - and .');
  const spec = isObject(root['spec']) ? root['spec'] : {};
  unknownFields(spec, ['description', 'sysctls'], 'spec.', problems);
  const keys = readKeys(spec['sysctls'], problems);
  if (problems.length > 0) throw badProfile(file, problems);
  return { name: String(name), description: textOf(spec['description']), keys };
}

function readYaml(text: string, file: string): unknown {
  try {
    const document = parseDocument(text, { prettyErrors: true, stringKeys: true });
    const [error] = document.errors;
    if (error) throw badProfile(file, [error.message.split('\n')[0] ?? '']);
    return document.toJS({ maxAliasCount: 20 });
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw badProfile(file, [errorText(error)]);
  }
}

function readKeys(list: unknown, problems: string[]): TuningKey[] {
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_KEYS) {
    problems.push(`spec.sysctls: expected a list of 1 to ${MAX_KEYS} settings`);
    return [];
  }
  const seen = new Set<string>();
  return list.flatMap((item: unknown, index) => {
    const path = `spec.sysctls[${index}]`;
    if (!isObject(item)) {
      problems.push(`${path}: expected key, value and reason`);
      return [];
    }
    unknownFields(item, ['key', 'value', 'reason', 'optional'], `${path}.`, problems);
    const { key, value, reason, optional = false } = item;
    if (typeof key !== 'string' || !KEY.test(key) || key.split('/').some((part) => /^\.*$/.test(part)))
      problems.push(`${path}.key: expected a setting of the network, such as net.ipv4.tcp_rmem`);
    else if (seen.has(key)) problems.push(`${path}.key: ${key} is there twice`);
    else seen.add(key);
    const written = typeof value === 'number' || typeof value === 'string' ? String(value).trim() : '';
    if (!VALUE.test(written)) problems.push(`${path}.value: expected a number, or a text of one line`);
    if (typeof reason !== 'string' || reason.trim() === '')
      problems.push(`${path}.reason: expected why, in words: whoever finds the setting will want to know`);
    if (typeof optional !== 'boolean') problems.push(`${path}.optional: expected true or false`);
    return [{ key: String(key), value: written, reason: textOf(reason), optional: optional === true }];
  });
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value.trim() : '');

function unknownFields(
  value: Record<string, unknown>,
  known: readonly string[],
  at: string,
  problems: string[],
): void {
  for (const name of Object.keys(value))
    if (!known.includes(name)) problems.push(`${at}${name}: no such field (expected ${known.join(', ')})`);
}

const badProfile = (file: string, problems: readonly string[]): HeddleError =>
  new HeddleError('BadProfile', `${file} is no tuning profile: ${problems.join('; ')}`, {
    hint: 'docs/cli.md has an example',
  });
