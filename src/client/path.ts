/** Paths of the Kubernetes API: /api/v1/…, /apis/<group>/<version>/…. */
import { type Kind, apiVersionOf } from '../api/kinds.ts';
import type { ListOptions, Selectors } from './types.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** Of a collection; of all namespaces when the kind has them and none is given. */
export function collectionPath(kind: Kind, namespace?: string): string {
  const root = kind.group === '' ? '/api' : '/apis';
  const scope = kind.namespaced && namespace ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}/${apiVersionOf(kind)}${scope}/${kind.resource}`;
}

export function objectPath(kind: Kind, name: string, namespace?: string, subresource?: string): string {
  if (name === '') throw new TypeError(`a ${kind.kind} without a name has no path`);
  if (kind.namespaced && !namespace) throw new TypeError(`${kind.kind} "${name}" needs a namespace`);
  const tail = subresource ? `/${subresource}` : '';
  return `${collectionPath(kind, namespace)}/${encodeURIComponent(name)}${tail}`;
}

export function withQuery(path: string, query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query))
    if (value !== undefined && value !== '') parameters.set(key, String(value));
  const text = parameters.toString();
  return text === '' ? path : `${path}?${text}`;
}

export const selectorQuery = (options: Selectors): Query => ({
  labelSelector: options.labelSelector,
  fieldSelector: options.fieldSelector,
});

export const listQuery = (options: ListOptions): Query => ({
  ...selectorQuery(options),
  limit: options.limit,
  continue: options.continue,
  resourceVersion: options.resourceVersion,
});
