/** Small parts of the data path's controller. */
import { unlessAborted } from '../../lib/signals.ts';
import type { RuleInfo } from '../../policy/tables.ts';

/** What a data path alone cannot decide it denies. */
export function handedOver({ verdict, text }: RuleInfo): string[] {
  if (verdict === 'redirect') return [`${text}: there is no proxy yet that reads requests: all are denied`];
  if (verdict === 'auth-required') return [`${text}: nobody can prove who he is yet: all is denied`];
  return [];
}

/** Waits for `promise`, or until the signal aborts. */
export async function until(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  await unlessAborted(promise, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
