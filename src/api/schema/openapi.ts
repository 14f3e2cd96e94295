/** OpenAPI v3 documents: enough for kubectl's apply, explain and validation. */
import { createHash } from 'node:crypto';
import { apiVersionOf, type Kind } from '../kinds.ts';
import { registry } from '../registry.ts';
import { rootName } from './generate.ts';
import { definitionOf, loadSchemas } from './load.ts';
import type { Definition, Field, FieldType } from './model.ts';
import { pathsOf } from './openapi-paths.ts';
import { listRule, listType } from './patch-keys.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/** `api/v1`, `apis/apps/v1`, … of the kinds served. */
function groupVersionPaths(): string[] {
  return [...new Set(registry.map((r) => groupVersionPath(r.kind)))];
}

const groupVersionPath = (kind: Kind): string =>
  kind.group === '' ? `api/${kind.version}` : `apis/${kind.group}/${kind.version}`;

/** The answer to `/openapi/v3`. */
export function openapiV3Index(): { paths: Record<string, { serverRelativeURL: string }> } {
  const hash = createHash('sha256').update(loadSchemas().stamp).digest('hex').slice(0, 32).toUpperCase();
  return {
    paths: Object.fromEntries(
      groupVersionPaths().map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` }]),
    ),
  };
}

const documents = new Map<string, string>();

/** The JSON text of `/openapi/v3/<path>`, made once; undefined for a path that is not in the index. */
export function openapiV3Document(path: string): string | undefined {
  const known = documents.get(path);
  if (known !== undefined) return known;
  const resources = registry.filter((r) => groupVersionPath(r.kind) === path);
  if (resources.length === 0) return undefined;
  const roots = resources.flatMap((r) => [rootName(r.kind), `${rootName(r.kind)}List`]);
  if (resources.some((r) => r.scale)) roots.push('io.k8s.api.autoscaling.v1.Scale');
  const text = JSON.stringify({
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.35.0' },
    paths: Object.assign({}, ...resources.map(pathsOf)),
    components: { schemas: componentsOf([...roots, `${META}.DeleteOptions`, `${META}.Status`]) },
  });
  documents.set(path, text);
  return text;
}

function componentsOf(roots: readonly string[]): Record<string, unknown> {
  const kinds = kindsByDefinition();
  const schemas: Record<string, unknown> = {};
  const queue = [...roots];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const definition = definitionOf(name);
    if (!definition || Object.hasOwn(schemas, name)) continue;
    const kind = kinds.get(name);
    schemas[name] = {
      ...objectSchema(name, definition, queue),
      ...(kind ? { 'x-kubernetes-group-version-kind': kind } : {}),
    };
  }
  schemas[`${META}.Patch`] = { description: 'A change, in one of the patch formats.', type: 'object' };
  return schemas;
}

interface GroupVersionKind {
  group: string;
  kind: string;
  version: string;
}

function kindsByDefinition(): Map<string, GroupVersionKind[]> {
  const kinds = new Map<string, GroupVersionKind[]>();
  for (const { kind, listKind } of registry) {
    const { group, version } = kind;
    kinds.set(rootName(kind), [{ group, version, kind: kind.kind }]);
    kinds.set(`${rootName(kind)}List`, [{ group, version, kind: listKind }]);
  }
  kinds.set('io.k8s.api.autoscaling.v1.Scale', [{ group: 'autoscaling', version: 'v1', kind: 'Scale' }]);
  kinds.set(`${META}.Status`, [{ group: '', version: 'v1', kind: 'Status' }]);
  const versions = [...new Set(registry.map((r) => apiVersionOf(r.kind)))];
  kinds.set(
    `${META}.DeleteOptions`,
    versions.map((v) => {
      const parts = v.split('/');
      return {
        group: parts.length === 2 ? (parts[0] ?? '') : '',
        version: parts.at(-1) ?? '',
        kind: 'DeleteOptions',
      };
    }),
  );
  return kinds;
}

/** Everything that `definition` refers to is put on the queue. */
function objectSchema(name: string, definition: Definition, queue: string[]): object {
  const required = Object.entries(definition.p)
    .filter(([key, field]) => field[2] === 1 && key !== 'apiVersion' && key !== 'kind')
    .map(([key]) => key);
  return {
    description: definition.d,
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(definition.p).map(([key, field]) => [key, fieldSchema(name, key, field, queue)]),
    ),
    ...(required.length > 0 ? { required } : {}),
  };
}

function fieldSchema(owner: string, key: string, [type, description]: Field, queue: string[]): object {
  const described = description === '' ? {} : { description };
  // A kind's own apiVersion and kind are any text to a schema: an enumeration would tell no more.
  const own = key === 'apiVersion' || key === 'kind' ? typeSchema('s', queue) : typeSchema(type, queue);
  return '$ref' in own
    ? { ...described, default: {}, allOf: [own], ...extensions(owner, key) }
    : { ...described, ...own, ...extensions(owner, key) };
}

function extensions(owner: string, key: string): object {
  const rule = listRule(owner, key);
  const type = listType(owner, key) ?? (rule?.mapKeys ? 'map' : undefined);
  return {
    ...(rule ? { 'x-kubernetes-patch-strategy': rule.strategy } : {}),
    ...(rule?.key ? { 'x-kubernetes-patch-merge-key': rule.key } : {}),
    ...(type ? { 'x-kubernetes-list-type': type } : {}),
    ...(rule?.mapKeys ? { 'x-kubernetes-list-map-keys': rule.mapKeys } : {}),
  };
}

function typeSchema(type: FieldType, queue: string[]): object {
  if (typeof type === 'string') return SCALARS[type];
  if ('e' in type) return { type: 'string', enum: type.e };
  if ('a' in type) return { type: 'array', items: itemSchema(type.a, queue) };
  if ('m' in type) return { type: 'object', additionalProperties: itemSchema(type.m, queue) };
  queue.push(type.r);
  return ref(type.r);
}

function itemSchema(type: FieldType, queue: string[]): object {
  const schema = typeSchema(type, queue);
  return '$ref' in schema ? { default: {}, allOf: [schema] } : schema;
}

const SCALARS = {
  s: { type: 'string' },
  i: { type: 'integer' },
  n: { type: 'number' },
  b: { type: 'boolean' },
  x: { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' },
  q: { oneOf: [{ type: 'string' }, { type: 'number' }] },
  t: { type: 'string', format: 'date-time' },
  o: { type: 'object' },
} as const;
