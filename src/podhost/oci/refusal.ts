/** What the runtime of images does not do, by name. */
import type { Pod } from '../../api/types.ts';
import { containerProblem, type OwnProblems, programRefusal } from '../process/refusal.ts';
import type { Container } from '../process/types.ts';
import { capabilityProblem } from './capabilities.ts';
import { ociMountProblem } from './mounts.ts';

const own: OwnProblems = (_pod, container) => [
  !container.image && 'no image',
  capabilityProblem(container.securityContext),
  ociMountProblem(container),
];

export const ociRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'oci', allowHost }, own);

export const ociContainerProblem = (pod: Pod, container: Container) =>
  containerProblem(pod, container, 'oci', (_pod, added) => [
    ...own(pod, added),
    targetOf(pod, added)?.securityContext?.privileged && 'a target that is privileged',
  ]);

const targetOf = (pod: Pod, added: Container & { targetContainerName?: string }): Container | undefined =>
  pod.spec?.containers.find(({ name }) => name === added.targetContainerName);
