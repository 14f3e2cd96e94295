/** What a request is about, from its method and path alone (authorisation needs no more). */
export type Verb =
  | 'get'
  | 'list'
  | 'watch'
  | 'create'
  | 'update'
  | 'patch'
  | 'delete'
  | 'deletecollection'
  | 'unknown';

export interface ResourceInfo {
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  /** Empty: all namespaces, or a kind without. */
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

export interface RequestInfo {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** Undefined for `/version`, discovery and the like. */
  readonly resource: ResourceInfo | undefined;
}

/** @throws URIError when the path has a broken escape */
export function requestInfo(method: string, url: string): RequestInfo {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const segments = path
    .split('/')
    .filter((segment) => segment !== '')
    .map((segment) => decodeURIComponent(segment));
  return { method, path, query, resource: resourceInfo(method, segments, query) };
}

function resourceInfo(
  method: string,
  segments: readonly string[],
  query: URLSearchParams,
): ResourceInfo | undefined {
  const [root, ...rest] = segments;
  const group = root === 'apis' ? rest.shift() : root === 'api' ? '' : undefined;
  const version = rest.shift();
  if (group === undefined || version === undefined || rest.length === 0) return undefined;
  // `namespaces/x` and its own subresources are about the namespace; deeper paths are within it.
  const within =
    rest[0] === 'namespaces' && rest.length > 2 && !(rest.length === 3 && namespaceParts.has(rest[2]!));
  const namespace = within ? rest[1]! : '';
  const [resource = '', name = '', ...more] = within ? rest.slice(2) : rest;
  const verb = verbOf(method, name === '', query);
  return {
    verb,
    group,
    version,
    resource,
    namespace: !within && resource === 'namespaces' ? name : namespace,
    name,
    subresource: more.join('/'),
  };
}

const namespaceParts = new Set(['status', 'finalize']);

function verbOf(method: string, collection: boolean, query: URLSearchParams): Verb {
  switch (method) {
    case 'GET':
    case 'HEAD':
      if (isTrue(query.get('watch'))) return 'watch';
      return collection ? 'list' : 'get';
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return collection ? 'deletecollection' : 'delete';
    default:
      return 'unknown';
  }
}

/** As Go's strconv reads flags of a query. */
export const isTrue = (value: string | null): boolean =>
  value !== null && ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value);
