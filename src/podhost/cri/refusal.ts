/** What pods of a container runtime do not have here, by name. */
import type { Pod } from '../../api/types.ts';
import { capabilityProblem } from '../oci/capabilities.ts';
import { ociMountProblem } from '../oci/mounts.ts';
import { programRefusal } from '../process/refusal.ts';
import { hasOwnProfile } from '../seccomp/wanted.ts';
import type { Container } from '../process/types.ts';
import { isWritten } from '../process/volumes.ts';

export const criRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'cri', allowHost }, (_pod, container) => [
    container.securityContext?.privileged && 'privileged',
    hasOwnProfile(pod, container) && 'seccompProfile of type Localhost',
    !container.image && 'no image',
    container.tty && 'tty',
    container.stdin && 'stdin',
    capabilityProblem(container.securityContext),
    tracesOthers(container) && 'capabilities.add: SYS_PTRACE',
    ociMountProblem(container),
    ...mountProblems(pod, container),
  ]);

/** Without a user namespace of its own a container could trace whoever enters it, who is the machine's root. */
const tracesOthers = ({ securityContext }: Container): boolean =>
  (securityContext?.capabilities?.add ?? []).some((name) => /^(CAP_)?SYS_PTRACE$/i.test(name));

/** The runtime mounts by path and follows links, which the pod's programs could have put there. */
const mountProblems = (pod: Pod, { volumeMounts = [] }: Container): string[] =>
  volumeMounts.flatMap(({ name, subPath, subPathExpr }) => {
    const volume = pod.spec?.volumes?.find((one) => one.name === name);
    if (!volume || isWritten(volume)) return [];
    return [
      ...(volume.hostPath ? [`volumeMounts: ${name}, a hostPath`] : []),
      ...(subPath || subPathExpr ? [`volumeMounts: subPath of ${name}, an emptyDir`] : []),
      ...(volume.emptyDir?.medium === 'Memory' ? [`volumeMounts: ${name}, an emptyDir in memory`] : []),
    ];
  });
