import { HeddleError } from '../lib/errors.ts';
import { isObject } from '../lib/json.ts';

/** What the API server answers instead of an object: a `Status` of failure (meta/v1), or a proxy's bare page. */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

export class ApiError extends Error {
  /** HTTP status. */
  readonly code: number;
  /** `NotFound`, `AlreadyExists`, `Conflict`, `Invalid`, `Forbidden`, `Expired`, `TooManyRequests`, … */
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

const reasons: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** From a `Status` object, as a response's body or inside a watch event of type ERROR. */
export function errorFromStatus(status: unknown, code: number, what: string): ApiError {
  if (!isObject(status) || status['kind'] !== 'Status')
    return new ApiError(code, reasons[code] ?? 'Unknown', `${what}: HTTP ${code}`);
  const number = typeof status['code'] === 'number' ? status['code'] : code;
  const reason = typeof status['reason'] === 'string' ? status['reason'] : (reasons[number] ?? 'Unknown');
  const message = typeof status['message'] === 'string' ? status['message'] : `${what}: ${reason}`;
  const details = isObject(status['details']) ? (status['details'] as StatusDetails) : undefined;
  return new ApiError(number, reason, message, details);
}

/** From a response's status and body; a body that is no Status is quoted in part. */
export function errorFromBody(code: number, body: string, what: string): ApiError {
  try {
    return errorFromStatus(JSON.parse(body), code, what);
  } catch {
    const text = body.trim().slice(0, 200);
    return new ApiError(code, reasons[code] ?? 'Unknown', `${what}: HTTP ${code}${text ? `: ${text}` : ''}`);
  }
}

const hasCode = (error: unknown, code: number): boolean => error instanceof ApiError && error.code === code;

export const isNotFound = (error: unknown): boolean => hasCode(error, 404);
/** The object was changed since it was read, or a precondition does not hold. */
export const isConflict = (error: unknown): boolean =>
  hasCode(error, 409) && (error as ApiError).reason !== 'AlreadyExists';
export const isAlreadyExists = (error: unknown): boolean =>
  error instanceof ApiError && error.code === 409 && error.reason === 'AlreadyExists';
/** The revision asked for is no longer kept (410 Gone or Expired): list again. */
export const isExpired = (error: unknown): boolean => hasCode(error, 410);

/** No server answered at all: nobody's fault but the server's, and over when it is back. */
export const isUnreachable = (error: unknown): boolean =>
  error instanceof HeddleError && (error.code === 'ApiUnreachable' || error.code === 'ApiTimeout');
