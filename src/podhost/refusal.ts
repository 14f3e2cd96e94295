import type { Pod } from '../api/types.ts';

/** Why this pod is not run on a local cluster; undefined when it is. */
export function refusal(pod: Pod): { reason: string; message: string } | undefined {
  const spec = pod.spec;
  const refused = [
    spec?.hostNetwork === true && 'hostNetwork',
    spec?.hostPID === true && 'hostPID',
    spec?.hostIPC === true && 'hostIPC',
  ].filter((field) => field !== false);
  if (refused.length === 0) return undefined;
  return {
    reason: 'HostAccessRefused',
    message: `spec.${refused.join(', spec.')}: pods of a local cluster are kept apart from the machine`,
  };
}
