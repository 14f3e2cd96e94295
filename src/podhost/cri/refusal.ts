/** What pods of a container runtime do not have here, by name. */
import type { Pod } from '../../api/types.ts';
import { capabilityProblem } from '../oci/capabilities.ts';
import { ociMountProblem } from '../oci/mounts.ts';
import { programRefusal } from '../process/refusal.ts';
import type { Container } from '../process/types.ts';

export const criRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'cri', allowHost }, (_pod, container) => [
    !container.image && 'no image',
    capabilityProblem(container.securityContext),
    tracesOthers(container) && 'capabilities.add: SYS_PTRACE',
    ociMountProblem(container),
  ]);

/** Without a user namespace of its own a container could trace whoever enters it, who is the machine's root. */
const tracesOthers = ({ securityContext }: Container): boolean =>
  (securityContext?.capabilities?.add ?? []).some((name) => /^(CAP_)?SYS_PTRACE$/i.test(name));
