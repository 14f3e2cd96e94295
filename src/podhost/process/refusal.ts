/** What runtimes of programs do not do, by name: better no pod than one that is other than it was asked for. */
import type { Pod } from '../../api/types.ts';
import { capabilityProblem } from '../oci/capabilities.ts';
import { mountProblem } from './argv.ts';
import type { Container } from './types.ts';
import { volumeProblems } from './volumes.ts';

/** What a container asks for that its runtime does not have, in words; anything else than a text is none. */
export type OwnProblems = (pod: Pod, container: Container) => unknown[];

export const processRefusal = (pod: Pod) => programRefusal(pod, 'process', ownProblems);

export function programRefusal(
  pod: Pod,
  runtime: string,
  own: OwnProblems,
): { reason: string; message: string } | undefined {
  const spec = pod.spec;
  const host = [
    ...(spec?.volumes ?? []).filter(({ hostPath }) => hostPath).map(({ name }) => `volume ${name}: hostPath`),
    ...all(pod)
      .filter(({ securityContext }) => securityContext?.privileged)
      .map(({ name }) => `container ${name}: privileged`),
  ];
  if (host.length > 0)
    return {
      reason: 'HostAccessRefused',
      message: `${host.join(', ')}: pods of a local cluster are kept apart from the machine`,
    };
  const problems = [
    ...volumeProblems(pod),
    ...(spec?.securityContext?.sysctls?.length ? ['sysctls'] : []),
    ...all(pod).flatMap((container) => containerProblems(pod, container, own)),
  ];
  if (problems.length === 0) return undefined;
  return { reason: 'NotSupported', message: `the ${runtime} runtime does not have: ${problems.join('; ')}` };
}

const all = (pod: Pod): Container[] => [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];

function ownProblems(pod: Pod, container: Container): unknown[] {
  return [
    !container.command?.length && 'no command, and there is no image that has one',
    capabilityProblem(container.securityContext),
    mountProblem(pod, container),
  ];
}

function containerProblems(pod: Pod, container: Container, own: OwnProblems): string[] {
  return [
    ...own(pod, container),
    ...securityProblems(pod, container),
    container.volumeDevices?.length && 'volumeDevices',
  ]
    .filter((words) => typeof words === 'string')
    .map((words) => `container ${container.name}: ${words}`);
}

/** A container does not run with less around it than it asks for. */
function securityProblems(pod: Pod, { securityContext: own }: Container) {
  const { appArmorProfile, seLinuxOptions } = { ...pod.spec?.securityContext, ...own };
  return [
    appArmorProfile?.type === 'Localhost' && 'a profile of AppArmor',
    Object.keys(seLinuxOptions ?? {}).length > 0 && 'seLinuxOptions',
    own?.procMount === 'Unmasked' && 'procMount Unmasked',
  ];
}
