/** Fills in what every kind shares, so that a kind's file holds only what is its own. */
import { clone } from '../lib/json.ts';
import type { Format } from './formats.ts';
import type { Kind } from './kinds.ts';
import { validateMetadata, validateMetadataUpdate } from './metadata.ts';
import type { Problems } from './field-error.ts';
import { ALL_VERBS, type Column, type Resource } from './resource.ts';
import type { ObjectMeta } from './types.ts';

export interface Definition<T> {
  readonly kind: Kind<T>;
  readonly singular: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly hasStatus?: boolean;
  readonly scale?: boolean;
  /** Format of `metadata.name`. */
  readonly name: Format;
  readonly columns: readonly Column<T>[];
  /** Changes the object it is given, which is a copy. */
  setDefaults?(obj: T): void;
  /** A new object: what changes because other fields do. */
  prepareUpdate?(now: T, before: T): T;
  validate?(obj: T): Problems;
  validateUpdate?(now: T, before: T): Problems;
  /** Of a valid object that is written: what its author should know. */
  warnings?(obj: T): Iterable<string>;
  readonly selectable?: Readonly<Record<string, (obj: T) => string>>;
}

export function define<T extends { metadata: ObjectMeta }>(definition: Definition<T>): Resource<T> {
  const { kind } = definition;
  const rules = { namespaced: kind.namespaced, name: definition.name };
  return {
    kind,
    singular: definition.singular,
    shortNames: definition.shortNames ?? [],
    categories: definition.categories ?? [],
    listKind: `${kind.kind}List`,
    hasStatus: definition.hasStatus ?? false,
    scale: definition.scale ?? false,
    verbs: ALL_VERBS,
    columns: definition.columns,
    applyDefaults(obj) {
      const copy = clone(obj);
      // As Kubernetes does: a namespace on a kind that has none is nobody's mistake.
      if (!kind.namespaced) delete copy.metadata.namespace;
      definition.setDefaults?.(copy);
      return copy;
    },
    prepareUpdate: (now, before) => definition.prepareUpdate?.(now, before) ?? now,
    validate: (obj) => [...validateMetadata(obj.metadata, rules), ...(definition.validate?.(obj) ?? [])],
    validateUpdate: (now, before) => [
      ...validateMetadataUpdate(now.metadata, before.metadata),
      ...(definition.validateUpdate?.(now, before) ?? []),
    ],
    warnings: (obj) => [...(definition.warnings?.(obj) ?? [])],
    selectableFields: {
      'metadata.name': (obj) => obj.metadata.name,
      ...(kind.namespaced ? { 'metadata.namespace': (obj: T) => obj.metadata.namespace ?? '' } : {}),
      ...definition.selectable,
    },
  };
}
