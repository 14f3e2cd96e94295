import { errorText } from '../lib/errors.ts';

/** Error codes of the specification, section "Error"; from 100 on they are the plugin's own. */
export const CniCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  tryAgain: 11,
  notAvailable: 50,
  /** As 50, and containers that are there may be cut off. */
  limited: 51,
  failed: 100,
  exhausted: 101,
  /** An address or a host port that was asked for is another's. */
  taken: 102,
} as const;

/** An error as a CNI plugin prints it. */
export class CniError extends Error {
  readonly code: number;
  readonly details: string;

  constructor(code: number, message: string, details = '', options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'CniError';
    this.code = code;
    this.details = details;
  }
}

export interface CniErrorJson {
  cniVersion: string;
  code: number;
  msg: string;
  details?: string;
}

export function toErrorJson(error: unknown, cniVersion: string): CniErrorJson {
  if (error instanceof CniError)
    return {
      cniVersion,
      code: error.code,
      msg: error.message,
      ...(error.details === '' ? {} : { details: error.details }),
    };
  return { cniVersion, code: CniCode.failed, msg: errorText(error) };
}
