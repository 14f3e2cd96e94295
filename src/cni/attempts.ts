/** Many things of which each is tried, whatever becomes of the others. */
import { errorText } from '../lib/errors.ts';
import { CniCode, CniError } from './error.ts';

export interface Attempts {
  try(what: string, work: () => Promise<unknown>): Promise<void>;
  /** @throws CniError with all that failed, in words */
  end(): void;
}

export function createAttempts(): Attempts {
  const failures: string[] = [];
  return {
    async try(what, work) {
      try {
        await work();
      } catch (error) {
        failures.push(`${what}: ${errorText(error)}`);
      }
    },
    end() {
      if (failures.length > 0) throw new CniError(CniCode.failed, failures.join('; '));
    },
  };
}
