/** Which objects a list or watch is about. */
import { compileFieldSelector, compileTextSelector, parseFieldSelector } from '../api/selector.ts';
import type { Resource } from '../api/resource.ts';
import type { KubeObject } from '../api/types.ts';
import { errorText } from '../lib/errors.ts';
import { badRequest } from './failure.ts';
import { keyOf, prefixOf } from './objects.ts';

export interface Selection {
  /** A prefix of the store, or one key when the selector names one object. */
  readonly prefix: string;
  /** Undefined: everything under the prefix. */
  readonly matches: ((object: KubeObject) => boolean) | undefined;
}

/** @throws ApiFailure 400 */
export function selectionOf(
  resource: Resource,
  place: { namespace: string; name: string },
  query: URLSearchParams,
): Selection {
  const labels = query.get('labelSelector') ?? '';
  const fields = query.get('fieldSelector') ?? '';
  try {
    const byLabel = labels.trim() === '' ? undefined : compileTextSelector(labels);
    const byField =
      fields.trim() === '' ? undefined : compileFieldSelector(fields, resource.selectableFields);
    const named =
      place.name ||
      parseFieldSelector(fields).find(({ field, operator }) => field === 'metadata.name' && operator === '=')
        ?.value;
    const single = named && (place.namespace !== '' || !resource.kind.namespaced);
    return {
      prefix: single
        ? keyOf(resource.kind, place.namespace, named)
        : prefixOf(resource.kind, place.namespace),
      matches:
        byLabel || byField
          ? (object) => (!byLabel || byLabel(object.metadata.labels)) && (!byField || byField(object))
          : undefined,
    };
  } catch (error) {
    throw badRequest(`unable to parse selector: ${errorText(error)}`);
  }
}
