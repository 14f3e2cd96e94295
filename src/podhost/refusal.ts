import { askedRuntime, RUNTIME_ANNOTATION, runtimeOf } from '../api/runtime.ts';
import type { Pod } from '../api/types.ts';
import { processRefusal } from './process/refusal.ts';

/** Why this pod is not run on a local cluster; undefined when it is. */
export function refusal(
  pod: Pod,
  options: { standIn: boolean },
): { reason: string; message: string } | undefined {
  return hostAccess(pod) ?? noRuntime(pod, options) ?? ofRuntime(pod, options);
}

const ofRuntime = (pod: Pod, options: { standIn: boolean }) =>
  runtimeOf(pod, options) === 'process' ? processRefusal(pod) : undefined;

function noRuntime(pod: Pod, options: { standIn: boolean }) {
  if (runtimeOf(pod, options)) return undefined;
  const asked = askedRuntime(pod);
  const why =
    asked === undefined
      ? 'images are not run yet, and this cluster was started without --stand-in'
      : `there is no runtime "${asked}"`;
  return {
    reason: 'NoRuntime',
    message: `${why}; annotate the pod with ${RUNTIME_ANNOTATION}: stand-in, or process`,
  };
}

function hostAccess(pod: Pod) {
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
