/** What pods of a container runtime do not have here, by name. */
import type { Pod } from '../../api/types.ts';
import { capabilityProblem, plainCapability } from '../oci/capabilities.ts';
import { ociMountProblem } from '../oci/mounts.ts';
import { programRefusal } from '../process/refusal.ts';
import type { Container } from '../process/types.ts';

export const criRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'cri', allowHost }, (_pod, container) => [
    !container.image && 'no image',
    capabilityProblem(container.securityContext),
    wayOut(container),
    ociMountProblem(container),
  ]);

/**
 * What leads to the machine where a container has no user namespace of its own: to trace whoever enters it, who is the
 * machine's root, and to open files by their handles (open_by_handle_at(2)), those of the machine among them.
 */
const WAYS_OUT = ['SYS_PTRACE', 'DAC_READ_SEARCH'];

function wayOut({ securityContext }: Container): string | undefined {
  if (securityContext?.privileged) return undefined;
  const found = (securityContext?.capabilities?.add ?? []).filter((name) =>
    WAYS_OUT.includes(plainCapability(name)),
  );
  return found.length === 0 ? undefined : `capabilities.add: ${found.join(', ')}`;
}
