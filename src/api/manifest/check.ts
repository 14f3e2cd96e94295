/** Manifests against the kinds: everything that can be said without a cluster. */
import { isObject } from '../../lib/json.ts';
import { fieldErrorText } from '../field-error.ts';
import { findKind, registry } from '../registry.ts';
import type { Resource } from '../resource.ts';
import { pruneUnknown, siblingsOf, typeErrors, unknownFields } from '../schema/check.ts';
import type { KubeObject } from '../types.ts';
import { nearest } from './nearest.ts';
import type { ManifestObject } from './parse.ts';
import type { ManifestProblem } from './problem.ts';

export interface CheckOptions {
  /** For objects that name none. Default `default`. */
  readonly namespace?: string;
}

/** Problems of one object's shape; also completes `metadata.namespace` of namespaced kinds. */
function checkObject(entry: ManifestObject, options: CheckOptions = {}): ManifestProblem[] {
  const { object, file, line, lineOf } = entry;
  const headless = missingHead(object);
  if (headless) return [{ file, line, ...headless }];
  const resource = findKind(object.apiVersion, object.kind);
  completeNamespace(object, resource, options.namespace ?? 'default');
  const name = objectName(object);
  const at = (path: string, message: string): ManifestProblem => ({
    file,
    line: lineOf(path),
    object: name,
    message,
  });
  if (!resource) return nameless(object) ? [at('metadata', nameless(object) ?? '')] : [];
  const shape = [
    ...unknownFields(resource.kind, object).map((path) => at(path, unknownMessage(resource, path))),
    ...typeErrors(resource.kind, object).map((p) =>
      at(p.field, `${p.field}: ${p.message}${quoteHint(p.message)}`),
    ),
  ];
  if (shape.length > 0) return shape;
  const noName = nameless(object);
  if (noName) return [at('metadata', noName)];
  const whole = resource.applyDefaults(pruneUnknown(resource.kind, object));
  return resource.validate(whole).map((error) => at(error.field, fieldErrorText(error)));
}

/** YAML reads `yes`, `1.10` and `0644` as no texts. */
const quoteHint = (message: string): string =>
  /^expected string, got (number|boolean)/.test(message) ? '; put the value in quotes' : '';

function missingHead(object: KubeObject): { message: string; hint?: string } | undefined {
  const lacks = (['apiVersion', 'kind'] as const).filter(
    (key) => typeof object[key] !== 'string' || object[key] === '',
  );
  if (lacks.length > 0) return { message: `${lacks.join(' and ')} missing: it does not say what it is` };
  if (object.metadata !== undefined && !isObject(object.metadata))
    return { message: 'metadata must be an object' };
  return undefined;
}

function nameless(object: KubeObject): string | undefined {
  if (object.metadata?.name) return undefined;
  return isObject(object.metadata) && object.metadata.generateName
    ? 'metadata.name is missing: generateName makes another object each time, which cannot be applied'
    : 'metadata.name is missing';
}

function completeNamespace(object: KubeObject, resource: Resource | undefined, namespace: string): void {
  if (!resource) return;
  object.metadata ??= { name: '' };
  if (!resource.kind.namespaced) delete object.metadata.namespace;
  else if (!object.metadata.namespace) object.metadata.namespace = namespace;
}

function unknownMessage(resource: Resource, path: string): string {
  const last =
    path
      .split(/[.[\]]+/)
      .filter((part) => part !== '')
      .at(-1) ?? '';
  const guess = nearest(last, siblingsOf(resource.kind, path));
  return `unknown field "${path}"${guess === undefined ? '' : `; did you mean "${guess}"?`}`;
}

/** `Deployment shop/web` */
export function objectName(object: KubeObject): string {
  const { name, namespace } = object.metadata ?? {};
  return `${object.kind} ${namespace ? `${namespace}/` : ''}${name || '(no name)'}`;
}

/** Every problem of a set of manifests, objects that appear twice included. */
export function checkManifests(
  entries: readonly ManifestObject[],
  options: CheckOptions = {},
): ManifestProblem[] {
  const problems = entries.flatMap((entry) => checkObject(entry, options));
  const seen = new Map<string, ManifestObject>();
  for (const entry of entries) {
    const { object, file, line } = entry;
    if (!object.metadata?.name || !object.kind) continue;
    // The group alone tells objects apart: versions show the same object.
    const group = object.apiVersion?.includes('/') ? object.apiVersion.split('/')[0] : '';
    const key = `${group} ${objectName(object)}`;
    const first = seen.get(key);
    if (first)
      problems.push({
        file,
        line,
        object: objectName(object),
        message: `it is also at ${first.file}:${first.line}; only one of them can count`,
      });
    else seen.set(key, entry);
  }
  return problems;
}

/** For kinds that are known under another version: `apps/v1`. */
export const servedVersion = (kind: string): string | undefined => {
  const found = registry.find((r) => r.kind.kind === kind);
  return (
    found && (found.kind.group === '' ? found.kind.version : `${found.kind.group}/${found.kind.version}`)
  );
};
