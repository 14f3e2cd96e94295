/** What went wrong below, with the code that the specification, or the plugin, has for it. */
import { errnoCode, errorText, HeddleError } from '../lib/errors.ts';
import { CniCode, CniError } from './error.ts';

const codes: Readonly<Record<string, number>> = {
  AddressesExhausted: CniCode.exhausted,
  AddressTaken: CniCode.taken,
  HostPortTaken: CniCode.taken,
  AddressOutside: CniCode.invalidConfig,
  AddressWishBad: CniCode.invalidConfig,
  PoolAmbiguous: CniCode.invalidConfig,
  PoolUnknown: CniCode.invalidConfig,
};
/** Of the disk that the address book is on. */
const IO = new Set(['EIO', 'ENOSPC', 'EROFS', 'EACCES', 'EDQUOT', 'EMFILE', 'ENFILE']);

export function asCniError(error: unknown, what: string): CniError {
  if (error instanceof CniError) return error;
  const known = error instanceof HeddleError ? codes[error.code] : undefined;
  const code = known ?? (IO.has(errnoCode(error) ?? '') ? CniCode.io : CniCode.failed);
  const hint = error instanceof HeddleError ? (error.hint ?? '') : '';
  return new CniError(code, `${what}: ${errorText(error)}`, hint, { cause: error });
}
