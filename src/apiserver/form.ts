/** Objects in the form that a client asked for. */
import type { Resource } from '../api/resource.ts';
import type { KubeObject } from '../api/types.ts';
import type { Form } from './negotiate.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

export const includeObjectOf = (query: URLSearchParams): IncludeObject => {
  const value = query.get('includeObject');
  return value === 'None' || value === 'Object' ? value : 'Metadata';
};

export interface ListMeta {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** Kinds whose Table kubectl decorates itself need the whole column list in the first Table only. */
export function tableOf(
  resource: Resource,
  objects: readonly KubeObject[],
  options: { version: string; metadata: ListMeta; include: IncludeObject; now: number; headers?: boolean },
): unknown {
  const { version, metadata, include, now, headers = true } = options;
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${version}`,
    metadata,
    columnDefinitions: headers
      ? resource.columns.map(({ name, type, format = '', description, priority }) => ({
          name,
          type,
          format: name === 'Name' ? 'name' : format,
          description,
          priority,
        }))
      : null,
    rows: objects.map((object) => ({
      cells: resource.columns.map((column) => column.value(object, now)),
      ...(include === 'None' ? {} : { object: include === 'Object' ? object : partial(object, version) }),
    })),
  };
}

const partial = (object: KubeObject, version = 'v1') => ({
  kind: 'PartialObjectMetadata',
  apiVersion: `meta.k8s.io/${version}`,
  metadata: object.metadata,
});

/** One object; `text` is its JSON, sent as it is when nothing else was asked for. */
export function oneIn(
  form: Form,
  resource: Resource,
  text: string,
  options: { include: IncludeObject; now: number },
): string {
  if (form.as === 'object') return text;
  const object = JSON.parse(text) as KubeObject;
  if (form.as === 'PartialObjectMetadata') return JSON.stringify(partial(object));
  const metadata = { resourceVersion: object.metadata.resourceVersion ?? '' };
  return JSON.stringify(tableOf(resource, [object], { version: form.version, metadata, ...options }));
}

export const partialOf = partial;
