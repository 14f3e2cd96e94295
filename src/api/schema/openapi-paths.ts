/** The `paths` of OpenAPI v3 documents: which verb of which resource takes which parameters. */
import type { Resource } from '../resource.ts';
import { rootName } from './generate.ts';

type Operation = Record<string, unknown>;
interface Gvk {
  group: string;
  kind: string;
  version: string;
}

const query = (name: string, description: string, type = 'string') => ({
  name,
  in: 'query',
  description,
  schema: { type, uniqueItems: true },
});

const PATH_NAME = {
  name: 'name',
  in: 'path',
  required: true,
  description: 'name of the object',
  schema: { type: 'string', uniqueItems: true },
};
const PATH_NAMESPACE = { ...PATH_NAME, name: 'namespace', description: 'namespace of the object' };

const WRITING = [
  query('dryRun', 'When "All", nothing is stored.'),
  query('fieldManager', 'Name of whoever makes the change.'),
  query('fieldValidation', 'What to do about unknown and duplicate fields: Ignore, Warn or Strict.'),
];
const FORCE = query('force', 'Takes fields over from other managers; for apply patches only.', 'boolean');
const LISTING = [
  query('continue', 'Where a list in pieces goes on.'),
  query('fieldSelector', 'Fields that the objects must have.'),
  query('labelSelector', 'Labels that the objects must have.'),
  query('limit', 'Most objects in one answer.', 'integer'),
  query('resourceVersion', 'Revision to read at.'),
  query('resourceVersionMatch', 'How to read resourceVersion.'),
  query('timeoutSeconds', 'Longest time of a watch.', 'integer'),
  query('watch', 'Changes instead of a list.', 'boolean'),
];
const DELETING = [
  query('dryRun', 'When "All", nothing is deleted.'),
  query('gracePeriodSeconds', 'Seconds before the object is gone.', 'integer'),
  query('propagationPolicy', 'What happens to what the object owns: Orphan, Background or Foreground.'),
];
const PRETTY = query('pretty', 'Indents the answer.');

const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];

const content = (name: string, types: readonly string[] = ['application/json']) =>
  Object.fromEntries(types.map((type) => [type, { schema: { $ref: `#/components/schemas/${name}` } }]));

function operation(
  action: string,
  gvk: Gvk,
  answer: string,
  rest: { parameters?: object[]; body?: object },
): Operation {
  return {
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk,
    parameters: rest.parameters ?? [],
    ...(rest.body ? { requestBody: { required: true, content: rest.body } } : {}),
    responses: { 200: { description: 'OK', content: content(answer) } },
  };
}

/** Every path of one resource. */
export function pathsOf(resource: Resource): Record<string, unknown> {
  const { kind } = resource;
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const gvk: Gvk = { group: kind.group, kind: kind.kind, version: kind.version };
  const name = rootName(kind);
  const list = `${name}List`;
  const base = kind.namespaced
    ? `${root}/namespaces/{namespace}/${kind.resource}`
    : `${root}/${kind.resource}`;
  const scope = kind.namespaced ? [PATH_NAMESPACE] : [];
  const paths: Record<string, unknown> = {
    [base]: {
      get: operation('list', gvk, list, { parameters: LISTING }),
      post: operation('post', gvk, name, { parameters: WRITING, body: content(name) }),
      delete: operation('deletecollection', gvk, 'io.k8s.apimachinery.pkg.apis.meta.v1.Status', {
        parameters: [...LISTING, ...DELETING],
      }),
      parameters: [...scope, PRETTY],
    },
    [`${base}/{name}`]: {
      ...itemOperations(gvk, name),
      delete: operation('delete', gvk, 'io.k8s.apimachinery.pkg.apis.meta.v1.Status', {
        parameters: DELETING,
      }),
      parameters: [PATH_NAME, ...scope, PRETTY],
    },
  };
  const item = { parameters: [PATH_NAME, ...scope, PRETTY] };
  if (resource.hasStatus) paths[`${base}/{name}/status`] = { ...itemOperations(gvk, name), ...item };
  if (resource.scale) {
    const scale: Gvk = { group: 'autoscaling', kind: 'Scale', version: 'v1' };
    paths[`${base}/{name}/scale`] = { ...itemOperations(scale, 'io.k8s.api.autoscaling.v1.Scale'), ...item };
  }
  if (kind.namespaced)
    paths[`${root}/${kind.resource}`] = {
      get: operation('list', gvk, list, {}),
      parameters: [...LISTING, PRETTY],
    };
  return paths;
}

function itemOperations(gvk: Gvk, name: string): Record<string, Operation> {
  return {
    get: operation('get', gvk, name, {}),
    put: operation('put', gvk, name, { parameters: WRITING, body: content(name) }),
    patch: operation('patch', gvk, name, {
      parameters: [...WRITING, FORCE],
      body: content('io.k8s.apimachinery.pkg.apis.meta.v1.Patch', PATCH_TYPES),
    }),
  };
}
