/** Refusals, as Status objects worded as Kubernetes words them: clients parse the words. */
import type { Kind } from '../api/kinds.ts';
import type { FieldError } from '../api/resource.ts';

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string | undefined;
  readonly group?: string | undefined;
  readonly kind?: string | undefined;
  readonly uid?: string | undefined;
  readonly causes?: readonly StatusCause[] | undefined;
  readonly retryAfterSeconds?: number | undefined;
}

export interface StatusObject {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Failure' | 'Success';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

export class ApiFailure extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = 'ApiFailure';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

export const statusOf = ({ code, reason, message, details }: ApiFailure): StatusObject => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Failure',
  message,
  reason,
  ...(details ? { details } : {}),
  code,
});

/** `deployments.apps`, `pods`. */
const qualified = (kind: Kind, name: string = kind.resource) =>
  kind.group === '' ? name : `${name}.${kind.group}`;

const resourceDetails = (kind: Kind, name?: string): StatusDetails => ({
  ...(name === undefined ? {} : { name }),
  ...(kind.group === '' ? {} : { group: kind.group }),
  kind: kind.resource,
});

export const badRequest = (message: string) => new ApiFailure(400, 'BadRequest', message);

export const unauthorized = () => new ApiFailure(401, 'Unauthorized', 'Unauthorized');

export const forbidden = (kind: Kind, name: string, why: string, causes?: StatusCause[]) =>
  new ApiFailure(403, 'Forbidden', `${qualified(kind)} "${name}" is forbidden: ${why}`, {
    ...resourceDetails(kind, name),
    ...(causes ? { causes } : {}),
  });

export const notFound = (kind: Kind, name: string) =>
  new ApiFailure(404, 'NotFound', `${qualified(kind)} "${name}" not found`, resourceDetails(kind, name));

/** A path that nothing serves. */
export const noSuchPath = () =>
  new ApiFailure(404, 'NotFound', 'the server could not find the requested resource', {});

export const methodNotAllowed = () =>
  new ApiFailure(
    405,
    'MethodNotAllowed',
    'the server does not allow this method on the requested resource',
    {},
  );

export const notAcceptable = (accepted: readonly string[]) =>
  new ApiFailure(406, 'NotAcceptable', `only the following media types are accepted: ${accepted.join(', ')}`);

export const alreadyExists = (kind: Kind, name: string) =>
  new ApiFailure(
    409,
    'AlreadyExists',
    `${qualified(kind)} "${name}" already exists`,
    resourceDetails(kind, name),
  );

export const conflict = (
  kind: Kind,
  name: string,
  why = 'the object has been modified; please apply your changes to the latest version and try again',
) =>
  new ApiFailure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(kind)} "${name}": ${why}`,
    resourceDetails(kind, name),
  );

export const expired = (message: string) => new ApiFailure(410, 'Expired', message);

export const tooLarge = (limit: number) =>
  new ApiFailure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limit}`);

export const unsupportedMediaType = (accepted: readonly string[], more = '') =>
  new ApiFailure(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}${more}`,
  );

/** 422 with every field's cause. */
export function invalid(kind: Kind, name: string, errors: readonly FieldError[]): ApiFailure {
  const lines = errors.map(({ field, message }) => `${field}: ${message}`);
  const listed = lines.length === 1 ? lines[0] : `[${lines.join(', ')}]`;
  return new ApiFailure(422, 'Invalid', `${qualified(kind, kind.kind)} "${name}" is invalid: ${listed}`, {
    name,
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.kind,
    causes: errors.map(({ type, message, field }) => ({ reason: type, message, field })),
  });
}

export const tooManyRequests = () =>
  new ApiFailure(429, 'TooManyRequests', 'Too many requests, please try again later.', {
    retryAfterSeconds: 1,
  });

export const internalError = (why: string) =>
  new ApiFailure(500, 'InternalError', `Internal error occurred: ${why}`, {
    causes: [{ reason: '', message: why }],
  });

export const unavailable = (why: string) =>
  new ApiFailure(503, 'ServiceUnavailable', why, { retryAfterSeconds: 1 });

export const futureRevision = (asked: number, current: number) =>
  new ApiFailure(504, 'Timeout', `Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
