/** Reads a kubeconfig into what createClient takes. YAML is loaded only when the file is not JSON. */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { HeddleError, errnoCode } from '../lib/errors.ts';
import { isObject } from '../lib/json.ts';
import type { ClientOptions } from './client.ts';
import { parseServer } from './transport.ts';

export interface Kubeconfig {
  client: ClientOptions;
  context: string;
  /** The context's namespace, else `default`. */
  namespace: string;
}

type Fields = Record<string, unknown>;

/**
 * `context`: a name other than current-context.
 * @throws HeddleError `BadKubeconfig`
 */
export async function loadKubeconfig(path: string, context?: string): Promise<Kubeconfig> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    const missing = errnoCode(error) === 'ENOENT';
    throw new HeddleError('BadKubeconfig', `cannot read the kubeconfig ${path}`, {
      hint: missing ? 'no such file: is the cluster up? `heddle kubeconfig` prints the path' : undefined,
      cause: error,
    });
  });
  return kubeconfigFrom(await parse(text, path), path, context);
}

async function parse(text: string, path: string): Promise<unknown> {
  try {
    if (text.trimStart().startsWith('{')) return JSON.parse(text);
    const yaml = await import('yaml');
    return yaml.parse(text);
  } catch (error) {
    throw new HeddleError('BadKubeconfig', `the kubeconfig ${path} is neither YAML nor JSON`, {
      cause: error,
    });
  }
}

async function kubeconfigFrom(config: unknown, path: string, wanted?: string): Promise<Kubeconfig> {
  const bad = (what: string, hint?: string) =>
    new HeddleError('BadKubeconfig', `the kubeconfig ${path} ${what}`, { hint });
  const root = record(config);
  if (!root || root['kind'] !== 'Config') throw bad('is not of kind "Config"');
  const find = (list: string, name: unknown, part: string): Fields => {
    const entries = Array.isArray(root[list]) ? root[list].map(record) : [];
    const found = record(entries.find((entry) => entry?.['name'] === name)?.[part]);
    const names = entries.map((entry) => `"${String(entry?.['name'])}"`).join(', ');
    if (!found) throw bad(`has no entry "${String(name)}" in ${list}`, `it has ${names || 'none'}`);
    return found;
  };
  const name = wanted ?? text(root['current-context']);
  if (!name) throw bad('has no current-context', 'name a context, or set current-context');
  const context = find('contexts', name, 'context');
  const cluster = find('clusters', context['cluster'], 'cluster');
  const user = context['user'] ? find('users', context['user'], 'user') : {};
  for (const key of ['exec', 'auth-provider'])
    if (user[key])
      throw bad(`uses "${key}" for its user, which is not supported`, 'use a certificate or a token');
  if (cluster['proxy-url']) throw bad('uses "proxy-url", which is not supported');
  const server = text(cluster['server']);
  if (!server) throw bad(`has no server for the cluster "${String(context['cluster'])}"`);
  parseServer(server);
  const at = (from: Fields, key: string) => material(from, key, path);
  const token = text(user['token']) ?? (await fileText(text(user['tokenFile']), 'tokenFile', path))?.trim();
  return {
    context: name,
    namespace: text(context['namespace']) ?? 'default',
    client: {
      server,
      ca: await at(cluster, 'certificate-authority'),
      cert: await at(user, 'client-certificate'),
      key: await at(user, 'client-key'),
      token,
      serverName: text(cluster['tls-server-name']),
      insecure: cluster['insecure-skip-tls-verify'] === true,
    },
  };
}

/** `<key>-data` is base64 of the PEM and wins over `<key>`, a path relative to the kubeconfig. */
async function material(from: Fields, key: string, path: string): Promise<string | undefined> {
  const data = text(from[`${key}-data`]);
  if (data === undefined) return fileText(text(from[key]), key, path);
  const decoded = Buffer.from(data, 'base64').toString('utf8');
  if (!decoded.includes('-----BEGIN'))
    throw new HeddleError(
      'BadKubeconfig',
      `the kubeconfig ${path} has a ${key}-data that is no PEM in base64`,
    );
  return decoded;
}

async function fileText(file: string | undefined, key: string, path: string): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const full = isAbsolute(file) ? file : join(dirname(path), file);
  return readFile(full, 'utf8').catch((error: unknown) => {
    throw new HeddleError(
      'BadKubeconfig',
      `the kubeconfig ${path} names ${full} as ${key}, which cannot be read`,
      {
        cause: error,
      },
    );
  });
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

function record(value: unknown): Fields | undefined {
  return isObject(value) ? value : undefined;
}
