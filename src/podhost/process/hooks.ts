/** What is run in or asked of a container after its start and before its end. */
import type { Clock } from '../../lib/clock.ts';
import { unlessAborted } from '../../lib/signals.ts';
import type { Container } from './types.ts';

type Hook = NonNullable<NonNullable<Container['lifecycle']>['preStop']>;

export interface HookDeps {
  /** Undefined when the command ended with 0, else what came of it. */
  exec(argv: readonly string[], signal: AbortSignal): Promise<string | undefined>;
  /** GET as a probe does it. */
  get(httpGet: NonNullable<Hook['httpGet']>, timeoutMs: number): Promise<string | undefined>;
  clock: Clock;
}

/** Undefined when it went well, else what was wrong. Ended after `timeoutMs`. */
export async function runHook(hook: Hook, deps: HookDeps, timeoutMs: number): Promise<string | undefined> {
  const time = AbortSignal.timeout(Math.ceil(timeoutMs));
  try {
    if (hook.exec) return await unlessAborted(deps.exec(hook.exec.command ?? [], time), time);
    if (hook.httpGet) return await unlessAborted(deps.get(hook.httpGet, timeoutMs), time);
    if (hook.sleep) await deps.clock.sleep(hook.sleep.seconds * 1000, time);
    return undefined;
  } catch (error) {
    return time.aborted ? `it did not end within ${timeoutMs} ms` : String(error);
  }
}
