/** From a request's body to an object of its kind: type, unknown fields, types of values. */
import { apiVersionOf, type Kind } from '../api/kinds.ts';
import { pruneUnknown, typeErrors, unknownFields } from '../api/schema/check.ts';
import type { KubeObject } from '../api/types.ts';
import { isObject } from '../lib/json.ts';
import { ApiFailure, badRequest } from './failure.ts';

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** @throws ApiFailure 422 */
export function fieldValidationOf(query: URLSearchParams): FieldValidation {
  const value = query.get('fieldValidation');
  if (value === null || value === '') return 'Warn';
  if (value === 'Strict' || value === 'Warn' || value === 'Ignore') return value;
  throw new ApiFailure(
    422,
    'Invalid',
    `fieldValidation: Unsupported value: ${JSON.stringify(value)}: supported values: "Ignore", "Strict", "Warn"`,
  );
}

export interface Decoding {
  readonly validation: FieldValidation;
  warn(text: string): void;
}

/** @throws ApiFailure 400 */
export function decodeObject(kind: Kind, value: unknown, decoding: Decoding): KubeObject {
  const apiVersion = apiVersionOf(kind);
  if (!isObject(value))
    throw badRequest(`the object provided is unrecognized (must be of type ${kind.kind})`);
  const given = value['apiVersion'] ?? apiVersion;
  const named = (found: unknown) => (typeof found === 'string' ? found : JSON.stringify(found));
  if (given !== apiVersion)
    throw badRequest(
      `the API version in the data (${named(given)}) does not match the expected API version (${apiVersion})`,
    );
  if ((value['kind'] ?? kind.kind) !== kind.kind)
    throw badRequest(
      `the kind in the data (${named(value['kind'])}) does not match the expected kind (${kind.kind})`,
    );
  return checkFields(
    kind,
    { ...value, kind: kind.kind, apiVersion, metadata: value['metadata'] ?? {} },
    decoding,
  );
}

/** Types must be right; unknown fields are refused, told or dropped, as the client asked. */
function checkFields(kind: Kind, value: unknown, { validation, warn }: Decoding): KubeObject {
  const wrong = typeErrors(kind, value)[0];
  if (wrong)
    throw badRequest(
      `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: json: cannot unmarshal field ${wrong.field}: ${wrong.message}`,
    );
  if (validation !== 'Ignore') {
    const unknown = unknownFields(kind, value);
    if (unknown.length > 0 && validation === 'Strict')
      throw badRequest(
        `${kind.kind} in version "${kind.version}" cannot be handled as a ${kind.kind}: strict decoding error: ${unknown.map((path) => `unknown field ${JSON.stringify(path)}`).join(', ')}`,
      );
    for (const path of unknown) warn(`unknown field ${JSON.stringify(path)}`);
  }
  return pruneUnknown(kind, value) as KubeObject;
}
