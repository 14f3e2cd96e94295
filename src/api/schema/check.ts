/** Objects against the field lists of their kinds. */
import { isObject } from '../../lib/json.ts';
import type { Kind } from '../kinds.ts';
import { definitionOf, schemaOf } from './load.ts';
import type { Definition, FieldType } from './model.ts';

export interface TypeProblem {
  /** `spec.ports[0].port` */
  readonly field: string;
  /** `expected integer, got string "80"` */
  readonly message: string;
}

interface Findings {
  unknown(path: string): void;
  wrong(path: string, expected: string, value: unknown): void;
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

/** Paths of the fields that the kind does not have. */
export function unknownFields(kind: Kind, obj: unknown): string[] {
  const found: string[] = [];
  walkDefinition(schemaOf(kind), obj, '', { unknown: (path) => found.push(path), wrong: () => {} });
  return found;
}

/** Values of another type than their field's; unknown fields are not looked at. */
export function typeErrors(kind: Kind, obj: unknown): TypeProblem[] {
  const found: TypeProblem[] = [];
  const wrong = (field: string, expected: string, value: unknown) =>
    found.push({ field, message: `expected ${expected}, got ${described(value)}` });
  walkDefinition(schemaOf(kind), obj, '', { unknown: () => {}, wrong });
  return found;
}

function described(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  const shown = JSON.stringify(value) ?? 'nothing';
  return `${typeof value} ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown}`;
}

function walkDefinition(definition: Definition, value: unknown, path: string, findings: Findings): void {
  if (!isObject(value)) {
    findings.wrong(path, 'an object', value);
    return;
  }
  for (const [key, member] of Object.entries(value)) {
    const field = Object.hasOwn(definition.p, key) ? definition.p[key] : undefined;
    if (!field) findings.unknown(join(path, key));
    else if (member !== null && member !== undefined) walk(field[0], member, join(path, key), findings);
  }
}

function walk(type: FieldType, value: unknown, path: string, findings: Findings): void {
  if (typeof type === 'string') {
    const expected = scalarProblem(type, value);
    if (expected !== undefined) findings.wrong(path, expected, value);
  } else if ('e' in type) {
    if (typeof value !== 'string') findings.wrong(path, 'string', value);
  } else if ('r' in type) {
    const definition = definitionOf(type.r);
    if (definition) walkDefinition(definition, value, path, findings);
  } else if ('a' in type) {
    if (!Array.isArray(value)) findings.wrong(path, 'a list', value);
    // A null in a list is the zero value, as in Kubernetes.
    else
      for (const [i, item] of value.entries())
        if (item !== null) walk(type.a, item, `${path}[${i}]`, findings);
  } else if (!isObject(value)) findings.wrong(path, 'an object', value);
  else
    for (const [key, member] of Object.entries(value))
      if (member !== null) walk(type.m, member, `${path}[${key}]`, findings);
}

/** What was expected, if `value` is not of the type. */
function scalarProblem(type: string, value: unknown): string | undefined {
  switch (type) {
    case 's':
      return typeof value === 'string' ? undefined : 'string';
    case 'i':
      return Number.isSafeInteger(value) ? undefined : 'integer';
    case 'n':
      return Number.isFinite(value) ? undefined : 'number';
    case 'b':
      return typeof value === 'boolean' ? undefined : 'boolean';
    case 'x':
      return typeof value === 'string' || Number.isSafeInteger(value) ? undefined : 'integer or string';
    case 'q':
      return typeof value === 'string' || typeof value === 'number'
        ? undefined
        : 'a quantity such as 100m or 1Gi';
    case 't':
      return typeof value === 'string' && RFC3339.test(value)
        ? undefined
        : 'a time such as 2026-01-31T12:00:00Z';
    default:
      return undefined;
  }
}

/**
 * The object as the kind's fields hold it: unknown fields and nulls are left out, nulls in lists and maps and
 * required texts, numbers and lists that are missing become zero values, quantities become texts. Types are
 * taken as right: check with `typeErrors` before.
 */
export function pruneUnknown<T>(kind: Kind, obj: T): T {
  return pruneDefinition(schemaOf(kind), obj) as T;
}

function pruneDefinition(definition: Definition, value: unknown): unknown {
  if (!isObject(value)) return value;
  const result: Record<string, unknown> = {};
  for (const [key, member] of Object.entries(value)) {
    const field = Object.hasOwn(definition.p, key) ? definition.p[key] : undefined;
    if (field && member !== null && member !== undefined) result[key] = prune(field[0], member);
  }
  for (const [key, type] of requiredOf(definition)) if (!Object.hasOwn(result, key)) result[key] = zero(type);
  return result;
}

const required = new WeakMap<Definition, [key: string, type: FieldType][]>();

/** What must be there and has a zero value; an object that is missing may be nil, which is another thing. */
function requiredOf(definition: Definition): [string, FieldType][] {
  const known = required.get(definition);
  if (known) return known;
  const fields = Object.entries(definition.p).flatMap(([key, [type, , must]]): [string, FieldType][] =>
    must === 1 && (typeof type === 'string' ? 'sinbxq'.includes(type) : 'a' in type) ? [[key, type]] : [],
  );
  required.set(definition, fields);
  return fields;
}

function prune(type: FieldType, value: unknown): unknown {
  if (type === 'q') return typeof value === 'number' ? String(value) : value;
  if (typeof type === 'string' || 'e' in type) return value;
  if ('r' in type) {
    const definition = definitionOf(type.r);
    return definition ? pruneDefinition(definition, value) : value;
  }
  if ('a' in type)
    return Array.isArray(value)
      ? value.map((item) => (item === null ? zero(type.a) : prune(type.a, item)))
      : value;
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      member === null ? zero(type.m) : prune(type.m, member),
    ]),
  );
}

function zero(type: FieldType): unknown {
  if (typeof type === 'object') return 'a' in type ? [] : 'e' in type ? '' : {};
  if (type === 'i' || type === 'n' || type === 'x') return 0;
  if (type === 'b') return false;
  return type === 'o' ? {} : type === 'q' ? '0' : '';
}

/** Names of the fields beside the unknown one at `path`, for "did you mean". */
export function siblingsOf(kind: Kind, path: string): string[] {
  let type: FieldType = { r: '' };
  let definition: Definition | undefined = schemaOf(kind);
  const keys = [...path.matchAll(/\[([^\]]*)\]|([^.[\]]+)/g)].map((m) => m[2] ?? m[1] ?? '');
  for (const key of keys.slice(0, -1)) {
    const field: FieldType | undefined = definition ? definition.p[key]?.[0] : inner(type);
    if (field === undefined) return [];
    type = field;
    definition = typeof type === 'object' && 'r' in type ? definitionOf(type.r) : undefined;
  }
  return Object.keys(definition?.p ?? {});
}

function inner(type: FieldType): FieldType | undefined {
  if (typeof type !== 'object') return undefined;
  return 'a' in type ? type.a : 'm' in type ? type.m : undefined;
}
