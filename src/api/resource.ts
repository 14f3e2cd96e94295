/** What the API server, the client and the CLI need to know of one kind of object. */
import type { Kind } from './kinds.ts';
import type { KubeObject } from './types.ts';

/** The causes that Kubernetes names in `Status.details.causes[].reason`. */
export type FieldErrorType =
  | 'FieldValueRequired'
  | 'FieldValueInvalid'
  | 'FieldValueNotFound'
  | 'FieldValueNotSupported'
  | 'FieldValueDuplicate'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'FieldValueTypeInvalid';

export interface FieldError {
  readonly type: FieldErrorType;
  /** As Kubernetes writes paths: `spec.ports[0].port`, `metadata.labels`, `spec.selector[app]`. */
  readonly field: string;
  /** Kubernetes' wording, without the path: `Invalid value: 70000: must be between 1 and 65535, inclusive`. */
  readonly message: string;
  readonly value?: unknown;
}

/** A column of a server-side table; `priority` 0 is shown always, 1 with `-o wide`. */
export interface Column<T = KubeObject> {
  readonly name: string;
  readonly type: 'string' | 'integer';
  readonly format?: string;
  readonly description: string;
  readonly priority: number;
  /** `now` in milliseconds since the epoch, for ages. */
  value(obj: T, now: number): string | number;
}

export interface Resource<T = KubeObject> {
  readonly kind: Kind<T>;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly listKind: string;
  readonly hasStatus: boolean;
  readonly scale?: boolean;
  readonly verbs: readonly string[];
  /** As kubectl prints them for that kind. */
  readonly columns: readonly Column<T>[];
  /** Pure: a new object with the defaults of Kubernetes 1.35; does not change `obj`. */
  applyDefaults(obj: T): T;
  /** Before the defaults of an update: what changes because other fields do. Pure. */
  prepareUpdate(now: T, before: T): T;
  /** Of an object with its defaults applied. */
  validate(obj: T): FieldError[];
  /** Immutable fields; `validate` is called besides. */
  validateUpdate(now: T, before: T): FieldError[];
  /** Of a valid object that is written: what its author should know, for Warning headers. */
  warnings(obj: T): string[];
  /** What a field selector may name, `metadata.name` and `metadata.namespace` included. */
  readonly selectableFields: Readonly<Record<string, (obj: T) => string>>;
}

export const ALL_VERBS = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
] as const;
