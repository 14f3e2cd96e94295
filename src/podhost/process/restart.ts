/** When a container that has ended is started again, and which run its log is of: a kubelet’s rules. Pure. */
import type { Pod } from '../../api/types.ts';
import type { Container, SavedContainer } from './types.ts';

export type Role = 'init' | 'sidecar' | 'main' | 'ephemeral';

const FIRST_MS = 10_000;
const LAST_MS = 300_000;
/** One that ran for so long begins anew. */
export const RESET_MS = 600_000;

/** Milliseconds from its end to its next start, after `failures` ends in a row. The first restart is immediate. */
export const restartDelay = (failures: number): number =>
  failures <= 1 ? 0 : Math.min(LAST_MS, FIRST_MS * 2 ** (failures - 2));

export function isRestarted(pod: Pod, role: Role, exitCode: number): boolean {
  if (role === 'sidecar') return true;
  if (role === 'ephemeral') return false;
  const policy = pod.spec?.restartPolicy ?? 'Always';
  if (role === 'init') return exitCode !== 0 && policy !== 'Never';
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

export const roleOf = (pod: Pod, container: Container): Role =>
  pod.spec?.ephemeralContainers?.some(({ name }) => name === container.name)
    ? 'ephemeral'
    : roleInSpec(pod, container);

const roleInSpec = (pod: Pod, container: Container): Role =>
  !pod.spec?.initContainers?.some(({ name }) => name === container.name)
    ? 'main'
    : container.restartPolicy === 'Always'
      ? 'sidecar'
      : 'init';

/** Whether `attempt` is one that has ended. */
export const hasEnded = (name: string, { ended, attempt }: SavedContainer): boolean =>
  ended?.containerID?.endsWith(`/${name}.${attempt}`) === true;

/**
 * The attempt whose log there is to read: one that is about to begin has none yet, and a kubelet then shows the one
 * before.
 */
export function loggedAttempt(name: string, saved: SavedContainer, isRunning: boolean): number {
  const isToBegin = !isRunning && !hasEnded(name, saved);
  return isToBegin ? Math.max(0, saved.attempt - 1) : saved.attempt;
}
