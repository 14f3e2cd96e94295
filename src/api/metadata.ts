/** Validation of `metadata`, the same for all kinds but for the format of the name. */
import { forbidden, formatted, immutable, invalid, type Problems, required, tooLong } from './field-error.ts';
import { dns1123Label, type Format, labelValue, prefixOf, qualifiedName } from './formats.ts';
import type { ObjectMeta } from './types.ts';

/** Sum of all keys and values, in bytes. */
export const ANNOTATIONS_LIMIT = 256 * 1024;

export interface MetadataRules {
  readonly namespaced: boolean;
  readonly name: Format;
}

export function* validateMetadata(meta: ObjectMeta, rules: MetadataRules, path = 'metadata'): Problems {
  yield* validateName(meta, rules, path);
  yield* validateNamespace(meta, rules, path);
  if (meta.generation !== undefined && meta.generation < 0)
    yield invalid(`${path}.generation`, meta.generation, 'must be greater than or equal to 0');
  yield* validateLabels(meta.labels, `${path}.labels`);
  yield* validateAnnotations(meta.annotations, `${path}.annotations`);
  yield* validateOwners(meta, `${path}.ownerReferences`);
  for (const [i, finalizer] of (meta.finalizers ?? []).entries())
    yield* formatted(`${path}.finalizers[${i}]`, finalizer, qualifiedName);
}

function* validateName(meta: ObjectMeta, rules: MetadataRules, path: string): Problems {
  if (meta.generateName) yield* formatted(`${path}.generateName`, meta.generateName, prefixOf(rules.name));
  if (!meta.name) yield required(`${path}.name`, 'name or generateName is required');
  else yield* formatted(`${path}.name`, meta.name, rules.name);
}

function* validateNamespace(meta: ObjectMeta, rules: MetadataRules, path: string): Problems {
  if (!rules.namespaced) {
    if (meta.namespace) yield forbidden(`${path}.namespace`, 'not allowed on this type');
  } else if (!meta.namespace) yield required(`${path}.namespace`);
  else yield* formatted(`${path}.namespace`, meta.namespace, dns1123Label);
}

export function* validateLabels(labels: Record<string, string> | undefined, path: string): Problems {
  for (const [key, value] of Object.entries(labels ?? {})) {
    yield* formatted(path, key, qualifiedName);
    yield* formatted(path, value, labelValue);
  }
}

export function* validateAnnotations(
  annotations: Record<string, string> | undefined,
  path: string,
): Problems {
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    yield* formatted(path, key, (text) => qualifiedName(text.toLowerCase()));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > ANNOTATIONS_LIMIT) yield tooLong(path, ANNOTATIONS_LIMIT);
}

function* validateOwners(meta: ObjectMeta, path: string): Problems {
  const controllers: string[] = [];
  for (const [i, owner] of (meta.ownerReferences ?? []).entries()) {
    const at = `${path}[${i}]`;
    if (!owner.apiVersion) yield invalid(`${at}.apiVersion`, owner.apiVersion, 'version must not be empty');
    if (!owner.kind) yield invalid(`${at}.kind`, owner.kind, 'must not be empty');
    if (!owner.name) yield invalid(`${at}.name`, owner.name, 'must not be empty');
    if (!owner.uid) yield invalid(`${at}.uid`, owner.uid, 'must not be empty');
    if (owner.kind === 'Event') yield invalid(at, owner, 'v1, Kind=Event is disallowed from being an owner');
    if (owner.controller) controllers.push(`${owner.kind}/${owner.name}`);
  }
  if (controllers.length > 1)
    yield invalid(
      path,
      meta.ownerReferences,
      `Only one reference can have Controller set to true. Found "true" in references for ${controllers[0]} and ${controllers[1]}`,
    );
}

/** What an update may not change. Missing values of `now` are the API server's to fill in before. */
export function* validateMetadataUpdate(now: ObjectMeta, before: ObjectMeta, path = 'metadata'): Problems {
  yield* immutable(`${path}.name`, now.name, before.name);
  yield* immutable(`${path}.namespace`, now.namespace, before.namespace);
  yield* immutable(`${path}.uid`, now.uid, before.uid);
  yield* immutable(`${path}.creationTimestamp`, now.creationTimestamp, before.creationTimestamp);
  yield* immutable(`${path}.deletionTimestamp`, now.deletionTimestamp, before.deletionTimestamp);
  if (before.deletionTimestamp) {
    const added = (now.finalizers ?? []).filter((f) => !(before.finalizers ?? []).includes(f));
    if (added.length > 0)
      yield forbidden(
        `${path}.finalizers`,
        `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
      );
  }
}
