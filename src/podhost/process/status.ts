/** A process pod's phase and container statuses, as a kubelet writes them. Pure. */
import type { Pod } from '../../api/types.ts';
import type { RuntimeStatus } from '../status.ts';
import { refusedStatus } from '../status.ts';
import type { Container, ContainerFacts, ContainerStatus } from './types.ts';
import type { PodEnd } from './whole-pod.ts';

export interface PodParts {
  containers: ReadonlyMap<string, ContainerFacts>;
  /** An init container that failed for good. */
  initFailed: boolean;
  /** The pod was ended as a whole. */
  ended: PodEnd | undefined;
  /** Why limits that are asked for are not set; undefined: they are. */
  unenforced: string | undefined;
  /** `imageID` of a container that runs or ran. */
  imageId(container: string): string;
  /** Why a container that was added to the pod is not run. */
  ephemeralProblem(container: Container): string | undefined;
}

const NOT_YET = {
  imageID: '',
  state: { waiting: { reason: 'PodInitializing' } },
  lastState: {},
  ready: false,
  started: false,
  restartCount: 0,
};

export function runtimeStatus(
  pod: Pod,
  { containers, initFailed, ended, unenforced, imageId, ephemeralProblem }: PodParts,
): RuntimeStatus {
  const of = (list: readonly { name: string; image?: string }[] | undefined): ContainerStatus[] =>
    (list ?? []).map((container) => oneStatus(pod, container, containers.get(container.name), imageId));
  const main = (pod.spec?.containers ?? []).map(({ name }) => containers.get(name));
  const inits = (pod.spec?.initContainers ?? []).map((one) => ({
    sidecar: one.restartPolicy === 'Always',
    facts: containers.get(one.name),
  }));
  const initialized = inits.every(({ sidecar, facts }) =>
    sidecar ? facts?.started === true : isDone(facts),
  );
  const over = main.length > 0 && main.every((facts) => facts?.over);
  const failed = initFailed || main.some((facts) => facts?.over && !isDone(facts));
  const begun = main.some(
    (facts) => facts && !('waiting' in facts.state && facts.restarts === 0 && !facts.lastState.terminated),
  );
  return {
    phase:
      ended || (failed && (initFailed || over))
        ? 'Failed'
        : over
          ? 'Succeeded'
          : begun
            ? 'Running'
            : 'Pending',
    ...ended,
    initialized: initialized || begun,
    containers: of(pod.spec?.containers),
    initContainers: of(pod.spec?.initContainers),
    ephemeralContainers: (pod.spec?.ephemeralContainers ?? []).map((container) => {
      const problem = ephemeralProblem(container);
      return problem === undefined
        ? oneStatus(pod, container, containers.get(container.name), imageId)
        : refusedStatus(container, problem);
    }),
    ...(unenforced === undefined ? {} : { unenforced }),
  };
}

const isDone = (facts: ContainerFacts | undefined): boolean =>
  facts?.over === true && facts.state.terminated?.exitCode === 0;

function oneStatus(
  pod: Pod,
  { name, image }: { name: string; image?: string },
  facts: ContainerFacts | undefined,
  imageId: PodParts['imageId'],
): ContainerStatus {
  if (!facts) return { ...NOT_YET, name, image: image ?? '' };
  const { state, lastState, ready, started, restarts } = facts;
  const ran = state.running ?? state.terminated ?? lastState.terminated;
  return {
    name,
    image: image ?? '',
    imageID: ran ? imageId(name) : '',
    ...(ran ? { containerID: `heddle://${pod.metadata.uid}/${name}.${restarts}` } : {}),
    state,
    lastState,
    ready,
    started,
    restartCount: restarts,
  };
}
