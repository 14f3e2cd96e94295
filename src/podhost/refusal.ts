import {
  askedRuntime,
  RUNTIME_ANNOTATION,
  type RuntimeDefaults,
  RUNTIMES,
  runtimeOf,
} from '../api/runtime.ts';
import type { Pod } from '../api/types.ts';
import { criRefusal } from './cri/refusal.ts';
import { ociContainerProblem, ociRefusal } from './oci/refusal.ts';
import { processContainerProblem, processRefusal } from './process/refusal.ts';
import type { Container as ProgramContainer } from './process/types.ts';

export interface RefusalOptions extends RuntimeDefaults {
  /** Pods may have files of the machine. */
  allowHost?: boolean;
}

/** Why this pod is not run on a local cluster; undefined when it is. */
export function refusal(pod: Pod, options: RefusalOptions): { reason: string; message: string } | undefined {
  return hostAccess(pod, options) ?? noRuntime(pod, options) ?? ofRuntime(pod, options);
}

/** Of a container that was added to a pod that runs. */
export const ephemeralProblem = (
  pod: Pod,
  container: ProgramContainer,
  runtime: string | undefined,
): string | undefined => {
  if (runtime === 'cri')
    return 'pods that a container runtime of the machine holds get no containers added yet';
  return runtime === 'oci' ? ociContainerProblem(pod, container) : processContainerProblem(pod, container);
};

function ofRuntime(pod: Pod, options: RefusalOptions) {
  const runtime = runtimeOf(pod, options);
  const { allowHost = false } = options;
  if (runtime === 'process') return processRefusal(pod, allowHost);
  if (runtime === 'cri') return criRefusal(pod, allowHost);
  return runtime === 'oci' ? ociRefusal(pod, allowHost) : undefined;
}

function noRuntime(pod: Pod, options: RuntimeDefaults) {
  if (runtimeOf(pod, options)) return undefined;
  const asked = askedRuntime(pod);
  const why =
    asked === undefined
      ? 'the pod asks for no runtime, and this cluster was started without --runtime and --stand-in'
      : `there is no runtime "${asked}"`;
  return {
    reason: 'NoRuntime',
    message: `${why}; annotate the pod with ${RUNTIME_ANNOTATION}: ${RUNTIMES.join(', ')}`,
  };
}

/** A node of a local cluster has a network of its own; its processes and IPC objects would be the machine's. */
function hostAccess(pod: Pod, options: RefusalOptions) {
  const { hostPID, hostIPC, hostNetwork } = pod.spec ?? {};
  const machine = [...(hostPID ? ['spec.hostPID'] : []), ...(hostIPC ? ['spec.hostIPC'] : [])];
  if (machine.length > 0)
    return {
      reason: 'HostAccessRefused',
      message: `${machine.join(', ')}: pods of a local cluster are kept apart from the machine, with --allow-host, too`,
    };
  if (!hostNetwork || runtimeOf(pod, options) !== 'cri') return undefined;
  return { reason: 'NotSupported', message: 'the cri runtime does not have: spec.hostNetwork' };
}
