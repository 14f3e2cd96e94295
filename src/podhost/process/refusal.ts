/** What runtimes of programs do not do, by name: better no pod than one that is other than it was asked for. */
import type { Pod } from '../../api/types.ts';
import { capabilityProblem } from '../oci/capabilities.ts';
import { mountProblem } from './argv.ts';
import type { Container } from './types.ts';
import { volumeProblems } from './volumes.ts';

/** What a container asks for that its runtime does not have, in words; anything else than a text is none. */
export type OwnProblems = (pod: Pod, container: Container) => unknown[];

export const processRefusal = (pod: Pod, allowHost = false) =>
  programRefusal(pod, { runtime: 'process', allowHost }, ownProblems);

export function programRefusal(
  pod: Pod,
  { runtime, allowHost }: { runtime: string; allowHost: boolean },
  own: OwnProblems,
): { reason: string; message: string } | undefined {
  const spec = pod.spec;
  const paths = (spec?.volumes ?? []).filter(({ hostPath }) => hostPath);
  const privileged = all(pod).filter(({ securityContext }) => securityContext?.privileged);
  const host = [
    ...paths.map(({ name }) => `volume ${name}: hostPath`),
    ...privileged.map(({ name }) => `container ${name}: privileged`),
  ];
  if (host.length > 0 && !allowHost)
    return refused(
      host,
      'pods of a local cluster are kept apart from the machine, unless "heddle up --allow-host" says otherwise',
    );
  const problems = [
    ...volumeProblems(pod),
    ...(spec?.securityContext?.sysctls?.length ? ['sysctls'] : []),
    ...all(pod).flatMap((container) => containerProblems(pod, container, own)),
  ];
  if (problems.length === 0) return undefined;
  return { reason: 'NotSupported', message: `the ${runtime} runtime does not have: ${problems.join('; ')}` };
}

const refused = (what: readonly string[], why: string) => ({
  reason: 'HostAccessRefused',
  message: `${what.join(', ')}: ${why}`,
});

/** One by itself, in words; undefined when the runtime has all that it asks for. */
export function containerProblem(
  pod: Pod,
  container: Container,
  runtime: string,
  own: OwnProblems,
): string | undefined {
  const problems = [
    ...(container.securityContext?.privileged ? [`container ${container.name}: privileged`] : []),
    ...containerProblems(pod, container, own),
  ];
  return problems.length === 0 ? undefined : `the ${runtime} runtime does not have: ${problems.join('; ')}`;
}

export const processContainerProblem = (pod: Pod, container: Container) =>
  containerProblem(pod, container, 'process', ownProblems);

const all = (pod: Pod): Container[] => [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];

function ownProblems(pod: Pod, container: Container): unknown[] {
  return [
    container.securityContext?.privileged && 'privileged',
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
