/** Makers of field errors, worded as Kubernetes words them, so that what parses its words works here. */
import { sameJson } from '../lib/json.ts';
import type { FieldError } from './resource.ts';

export type Problems = Iterable<FieldError>;

/** As Kubernetes shows a wrong value: texts quoted, the rest as JSON. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  return JSON.stringify(value) ?? 'null';
}

export const required = (field: string, detail = ''): FieldError => ({
  type: 'FieldValueRequired',
  field,
  message: detail === '' ? 'Required value' : `Required value: ${detail}`,
});

export const invalid = (field: string, value: unknown, detail: string): FieldError => ({
  type: 'FieldValueInvalid',
  field,
  message: `Invalid value: ${shown(value)}: ${detail}`,
  value,
});

export const notSupported = (field: string, value: unknown, supported: readonly string[]): FieldError => ({
  type: 'FieldValueNotSupported',
  field,
  message: `Unsupported value: ${shown(value)}: supported values: ${[...supported]
    .sort()
    .map((v) => JSON.stringify(v))
    .join(', ')}`,
  value,
});

export const duplicate = (field: string, value: unknown): FieldError => ({
  type: 'FieldValueDuplicate',
  field,
  message: `Duplicate value: ${shown(value)}`,
  value,
});

export const forbidden = (field: string, detail: string): FieldError => ({
  type: 'FieldValueForbidden',
  field,
  message: `Forbidden: ${detail}`,
});

/** `limit` in bytes. */
export const tooLong = (field: string, limit: number): FieldError => ({
  type: 'FieldValueTooLong',
  field,
  message: `Too long: may not be more than ${limit} bytes`,
});

export const tooMany = (field: string, actual: number, limit: number): FieldError => ({
  type: 'FieldValueTooMany',
  field,
  message: `Too many: ${actual}: must have at most ${limit} items`,
  value: actual,
});

/** One line, as kubectl prints it: `spec.ports[0].port: Invalid value: …`. */
export const fieldErrorText = (error: FieldError): string => `${error.field}: ${error.message}`;

/** Yields an error unless `value` is one of `supported`; nothing for undefined. */
export function* oneOf(field: string, value: string | undefined, supported: readonly string[]): Problems {
  if (value !== undefined && !supported.includes(value)) yield notSupported(field, value, supported);
}

/** Yields `invalid` with each complaint of a format. */
export function* formatted(field: string, value: string, format: (text: string) => string[]): Problems {
  for (const complaint of format(value)) yield invalid(field, value, complaint);
}

const IMMUTABLE = 'field is immutable';

/** Yields an error when two JSON values differ. */
export function* immutable(field: string, now: unknown, before: unknown, detail = IMMUTABLE): Problems {
  if (!sameJson(now, before)) yield invalid(field, now, detail);
}
