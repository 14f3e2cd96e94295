/** The manifests of `up -f`: read and checked before anything is made, applied when the API server answers. */
import { type Kind, NAMESPACE } from '../api/kinds.ts';
import { type ManifestObject, loadManifests as load } from '../api/manifest.ts';
import { findKind } from '../api/registry.ts';
import type { KubeObject } from '../api/types.ts';
import { isAlreadyExists } from '../client/api-error.ts';
import type { Client } from '../client/types.ts';
import type { CliDeps } from './deps.ts';

export interface Manifests {
  readonly count: number;
  readonly entries: readonly { readonly kind: Kind<KubeObject>; readonly object: KubeObject }[];
  /** Objects of kinds that are not acted on, as `file:line: Kind namespace/name`. */
  readonly ignored: readonly string[];
}

/** @throws HeddleError `BadManifest` that lists every problem */
export async function loadManifests(
  files: readonly string[],
  deps: Pick<CliDeps, 'stdin'>,
): Promise<Manifests> {
  if (files.length === 0) return { count: 0, entries: [], ignored: [] };
  const all = await load(files, { stdin: deps.stdin as AsyncIterable<Uint8Array> });
  const known = all.flatMap(({ object }) => {
    const resource = findKind(object.apiVersion, object.kind);
    return resource ? [{ kind: resource.kind as Kind<KubeObject>, object }] : [];
  });
  const ignored = all
    .filter(({ object }) => !findKind(object.apiVersion, object.kind))
    .map(
      ({ file, line, object }: ManifestObject) => `${file}:${line}: ${object.kind} ${object.metadata.name}`,
    );
  return { count: known.length, entries: known, ignored };
}

/** Namespaces first, those too that objects name and no manifest makes. */
export async function applyManifests(client: Client, manifests: Manifests): Promise<void> {
  const isNamespace = ({ kind }: { kind: Kind<KubeObject> }) => kind.kind === NAMESPACE.kind;
  const [namespaces, rest] = [
    manifests.entries.filter(isNamespace),
    manifests.entries.filter((e) => !isNamespace(e)),
  ];
  for (const { kind, object } of [...namespaces, ...rest]) await applyOne(client, kind, object);
}

async function applyOne(client: Client, kind: Kind<KubeObject>, object: KubeObject): Promise<void> {
  const { name, namespace } = object.metadata;
  try {
    await client.create(kind, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await client.patch(kind, name, kind.namespaced ? namespace : undefined, object, { type: 'merge' });
  }
}
