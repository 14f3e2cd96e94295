/** What the runtime of images does not do, by name. */
import type { Pod } from '../../api/types.ts';
import { programRefusal } from '../process/refusal.ts';
import { capabilityProblem } from './capabilities.ts';
import { ociMountProblem } from './mounts.ts';

export const ociRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'oci', allowHost }, (_pod, container) => [
    !container.image && 'no image',
    capabilityProblem(container.securityContext),
    ociMountProblem(container),
  ]);
