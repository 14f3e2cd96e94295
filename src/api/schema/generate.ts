/** Makes the schemas out of the declaration files of the kubernetes-models packages. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { apiVersionOf, type Kind } from '../kinds.ts';
import { registry } from '../registry.ts';
import type { Definition, FieldType, Schemas } from './model.ts';
import { OWN_TYPES } from './own-types.ts';
import { readTypeFile } from './read-types.ts';

/** Changes with the format of the schemas, so that old files are made anew. */
const FORMAT = 3;
const PACKAGES = ['kubernetes-models', '@kubernetes-models/apimachinery'] as const;

/** Aliases and types without fields: what they hold is decided here. */
const SPECIAL: Readonly<Record<string, FieldType>> = {
  'io.k8s.apimachinery.pkg.api.resource.Quantity': 'q',
  'io.k8s.apimachinery.pkg.util.intstr.IntOrString': 'x',
  'io.k8s.apimachinery.pkg.apis.meta.v1.Time': 't',
  'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': 't',
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': 'o',
  'io.k8s.apimachinery.pkg.runtime.RawExtension': 'o',
};

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
/** What the API's answers and options are made of. */
const EXTRA = [`${META}.Status`, `${META}.DeleteOptions`, 'io.k8s.api.autoscaling.v1.Scale'];

/** The packages export no package.json, so they are looked for as Node looks: upwards. */
function packageFolders(): Readonly<Record<string, string>> {
  const find = (name: string): string => {
    for (let folder = import.meta.dirname; folder !== dirname(folder); folder = dirname(folder)) {
      const candidate = join(folder, 'node_modules', name);
      if (existsSync(join(candidate, 'package.json'))) return candidate;
    }
    throw new Error(`the package ${name} is not installed`);
  };
  return Object.fromEntries(PACKAGES.map((name) => [name, find(name)]));
}

function versionOf(folder: string): string {
  return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version;
}

/** What the schemas depend on. */
export function currentStamp(): string {
  const folders = packageFolders();
  return [FORMAT, ...PACKAGES.map((name) => versionOf(folders[name] ?? '')), registry.length].join(' ');
}

/** `io.k8s.api.core.v1.PodSpec` ↔ the file that declares it. */
export function definitionName(packageName: string, path: string): string {
  const parts = path.replace(/\.(d\.ts|js)$/, '').split('/');
  if (packageName !== 'kubernetes-models') return `io.k8s.apimachinery.pkg.${parts.join('.')}`;
  const group = parts.length === 2 ? 'core' : (parts.shift() ?? '').replace(/\.k8s\.io$/, '');
  return `io.k8s.api.${group}.${parts.join('.')}`;
}

export function rootName(kind: Kind): string {
  const group = kind.group === '' ? 'core' : kind.group.replace(/\.k8s\.io$/, '');
  return `io.k8s.api.${group}.${kind.version}.${kind.kind}`;
}

/** @throws Error when the packages are not as expected */
export function generateSchemas(): Schemas {
  const folders = packageFolders();
  const definitions: Record<string, Definition> = { ...OWN_TYPES };
  const files = new Map<string, string>();
  const queue: string[] = [];

  const note = (packageName: string, path: string): FieldType => {
    const name = definitionName(packageName, path);
    const special = SPECIAL[name];
    if (special !== undefined) return special;
    if (!files.has(name)) {
      files.set(name, join(folders[packageName] ?? '', `${path.replace(/\.js$/, '')}.d.ts`));
      queue.push(name);
    }
    return { r: name };
  };

  const resolveImport = (from: string, file: string): FieldType => {
    for (const name of PACKAGES)
      if (from.startsWith(`${name}/`)) return note(name, from.slice(name.length + 1));
    const packageName =
      PACKAGES.find((name) => !relative(folders[name] ?? '', file).startsWith('..')) ?? PACKAGES[0];
    return note(packageName, relative(folders[packageName] ?? '', join(dirname(file), from)));
  };

  const read = (name: string): void => {
    const file = files.get(name) ?? '';
    const source = readFileSync(file, 'utf8');
    const { imports } = readTypeFile(source, () => 'o');
    const resolve = (local: string): FieldType => {
      const from = imports.get(local);
      if (from !== undefined) return resolveImport(from, file);
      // A type that contains itself is not imported.
      if (source.includes(`as ${local},`) || source.includes(`as ${local} `)) return { r: name };
      throw new Error(`${file}: "${local}" is not imported`);
    };
    const { definition } = readTypeFile(source, resolve);
    if (!definition) throw new Error(`${file}: no interface found`);
    definitions[name] = definition;
  };

  for (const { kind } of registry) {
    if (OWN_TYPES[rootName(kind)]) continue;
    const folder = kind.group === '' ? kind.version : apiVersionOf(kind);
    note('kubernetes-models', `${folder}/${kind.kind}`);
    note('kubernetes-models', `${folder}/${kind.kind}List`);
  }
  note('@kubernetes-models/apimachinery', 'apis/meta/v1/Status');
  note('@kubernetes-models/apimachinery', 'apis/meta/v1/DeleteOptions');
  note('@kubernetes-models/apimachinery', 'apis/meta/v1/Condition');
  note('kubernetes-models', 'autoscaling/v1/Scale');
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) read(name);
  const missing = EXTRA.filter((name) => !definitions[name]);
  if (missing.length > 0) throw new Error(`no definition of ${missing.join(', ')}`);
  return { stamp: currentStamp(), definitions };
}
