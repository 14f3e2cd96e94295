/** Objects and their places in the store. */
import { apiVersionOf, type Kind } from '../api/kinds.ts';
import type { KubeObject } from '../api/types.ts';
import type { Entry } from '../store/types.ts';

const root = (kind: Kind) => `${kind.group === '' ? 'core' : kind.group}/${kind.resource}/`;

/** Where the objects of a kind are, of one namespace if given. */
export const prefixOf = (kind: Kind, namespace = ''): string =>
  namespace === '' || !kind.namespaced ? root(kind) : `${root(kind)}${namespace}/`;

export const keyOf = (kind: Kind, namespace: string | undefined, name: string): string =>
  `${prefixOf(kind, namespace ?? '')}${name}`;

const parsed = new WeakMap<Entry, KubeObject>();

/** The object of an entry, shared by all who ask: not to be changed. */
export function objectOf(entry: Entry): KubeObject {
  let object = parsed.get(entry);
  if (!object) parsed.set(entry, (object = JSON.parse(entry.value) as KubeObject));
  return object;
}

/** The stored text of an object at a revision. */
export function textAt(object: KubeObject, revision: number): string {
  return JSON.stringify({
    ...object,
    metadata: { ...object.metadata, resourceVersion: String(revision) },
  });
}

/** Fields in the order in which they are shown: type first, then metadata. */
export function ordered(kind: Kind, object: KubeObject): KubeObject {
  const { kind: _kind, apiVersion: _version, metadata, ...rest } = object;
  return { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata, ...rest };
}
