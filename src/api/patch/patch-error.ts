import { HeddleError } from '../../lib/errors.ts';

/** A patch that cannot be read (`malformed`: HTTP 400) or does not fit the object (`unfit`: HTTP 422). */
export class PatchError extends HeddleError {
  readonly why: 'malformed' | 'unfit';

  constructor(why: 'malformed' | 'unfit', message: string) {
    super('BadPatch', message, {
      hint:
        why === 'malformed'
          ? 'check the patch against its format'
          : 'read the object again and patch what it holds',
    });
    this.name = 'PatchError';
    this.why = why;
  }
}
