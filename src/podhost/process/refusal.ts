/** What the process runtime does not do, by name: better no pod than one that is other than it was asked for. */
import type { Pod } from '../../api/types.ts';
import { mountProblem } from './argv.ts';
import type { Container } from './types.ts';
import { volumeProblems } from './volumes.ts';

/** Without it the default of a user who is not root: ports below 1024 are open to everybody in a pod. */
const HARMLESS = new Set(['NET_BIND_SERVICE']);

export function processRefusal(pod: Pod): { reason: string; message: string } | undefined {
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
    ...(spec?.shareProcessNamespace ? ['shareProcessNamespace'] : []),
    ...(spec?.securityContext?.sysctls?.length ? ['sysctls'] : []),
    ...all(pod).flatMap((container) => containerProblems(pod, container)),
  ];
  if (problems.length === 0) return undefined;
  return { reason: 'NotSupported', message: `the process runtime does not have: ${problems.join('; ')}` };
}

const all = (pod: Pod): Container[] => [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];

function containerProblems(pod: Pod, container: Container): string[] {
  return [
    !container.command?.length && 'no command, and there is no image that has one',
    ...securityProblems(pod, container),
    container.volumeDevices?.length && 'volumeDevices',
    (container.stdin || container.tty) && 'stdin and tty',
    mountProblem(pod, container),
  ]
    .filter((words) => typeof words === 'string')
    .map((words) => `container ${container.name}: ${words}`);
}

/** A container does not run with less around it than it asks for. */
function securityProblems(pod: Pod, { securityContext: own }: Container) {
  const { seccompProfile, appArmorProfile, seLinuxOptions } = { ...pod.spec?.securityContext, ...own };
  const added = (own?.capabilities?.add ?? []).filter((name) => !HARMLESS.has(name));
  return [
    added.length > 0 && `capabilities.add: ${added.join(', ')}`,
    seccompProfile?.type === 'Localhost' && 'seccompProfile of type Localhost',
    appArmorProfile?.type === 'Localhost' && 'a profile of AppArmor',
    Object.keys(seLinuxOptions ?? {}).length > 0 && 'seLinuxOptions',
    own?.procMount === 'Unmasked' && 'procMount Unmasked',
  ];
}
