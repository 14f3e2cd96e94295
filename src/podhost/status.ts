/** A pod's status as a kubelet writes it, from what the pod host knows. Pure. */
import { qosClass } from '../api/pod-defaults.ts';
import type { Pod } from '../api/types.ts';
import { containersOf, sidecarsOf } from './ports.ts';

export type PodStatus = NonNullable<Pod['status']>;
type Condition = NonNullable<PodStatus['conditions']>[number];
type ContainerStatus = NonNullable<PodStatus['containerStatuses']>[number];

/** What a runtime that runs programs says of them. */
export interface RuntimeStatus {
  phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed';
  initialized: boolean;
  containers: ContainerStatus[];
  initContainers: ContainerStatus[];
  /** Those added for looking into the pod. */
  ephemeralContainers: ContainerStatus[];
  /** Why the pod was ended as a whole. */
  reason?: string;
  message?: string;
  /** Why limits that are asked for are not set. */
  unenforced?: string;
}

export interface PodFacts {
  hostAddresses: readonly string[];
  /** Empty until the network is set up. */
  addresses: readonly string[];
  /** When the pod was first seen by this node, ISO. */
  startTime: string;
  /** When its containers came up; undefined while they have not. */
  runningSince: string | undefined;
  /** The node has the pod's address, policy and routes in the kernel. */
  barrier: boolean;
  /** By container name; a container not named here has not passed its probes. */
  containers: ReadonlyMap<string, { ready: boolean; started: boolean; restarts: number }>;
  terminating: boolean;
  /** Undefined: a stand-in, or nothing was started yet. */
  runtime?: RuntimeStatus | undefined;
  /** Why annotations of stand-ins that it has are passed over; empty: they are not. */
  unheeded?: string;
  /** Why the pod does not come up. */
  trouble: { reason: string; message: string } | undefined;
  /** What was written last: newer than what the API server has told us. */
  written: PodStatus | undefined;
  /** Now, ISO, to the second. */
  now: string;
}

export function podStatus(pod: Pod, facts: PodFacts): PodStatus {
  const { containers, initContainers, ephemeralContainers, phase } = facts.runtime
    ? fromRuntime(facts.runtime, facts)
    : ofStandIn(pod, facts);
  const allReady =
    facts.runningSince !== undefined && !facts.terminating && containers.every(({ ready }) => ready);
  return {
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    phase,
    ...(facts.runtime?.reason ? { reason: facts.runtime.reason, message: facts.runtime.message } : {}),
    conditions: conditions(pod, facts, { network: facts.addresses.length > 0, containers, allReady, phase }),
    hostIP: facts.hostAddresses[0],
    hostIPs: facts.hostAddresses.map((ip) => ({ ip })),
    ...(facts.addresses.length > 0
      ? { podIP: facts.addresses[0], podIPs: facts.addresses.map((ip) => ({ ip })) }
      : {}),
    startTime: facts.startTime,
    ...(initContainers.length > 0 ? { initContainerStatuses: initContainers } : {}),
    containerStatuses: containers,
    ...(ephemeralContainers.length > 0 ? { ephemeralContainerStatuses: ephemeralContainers } : {}),
    ...(pod.spec ? { qosClass: qosClass(pod.spec) } : {}),
  };
}

interface Parts {
  phase: RuntimeStatus['phase'];
  containers: ContainerStatus[];
  initContainers: ContainerStatus[];
  ephemeralContainers: ContainerStatus[];
}

/** Who is to go gets no traffic, whatever its probes say. */
const fromRuntime = (
  { phase, containers, initContainers, ephemeralContainers }: RuntimeStatus,
  facts: PodFacts,
): Parts => ({
  phase,
  ephemeralContainers,
  containers: containers.map((one) => ({ ...one, ready: one.ready && !facts.terminating })),
  initContainers,
});

function ofStandIn(pod: Pod, facts: PodFacts): Parts {
  const initContainers = (pod.spec?.initContainers ?? []).map((container) =>
    sidecarsOf(pod).includes(container)
      ? containerStatus(pod, container, facts)
      : finishedInit(pod, container, facts),
  );
  return {
    phase: facts.runningSince === undefined ? 'Pending' : 'Running',
    containers: containersOf(pod).map((container) => containerStatus(pod, container, facts)),
    initContainers,
    ephemeralContainers: (pod.spec?.ephemeralContainers ?? []).map((container) =>
      refusedStatus(container, STAND_IN_RUNS_NOTHING),
    ),
  };
}

export const STAND_IN_RUNS_NOTHING =
  'the pod is a stand-in, which runs no containers: kubectl exec runs a program of the machine in its network';

/** Of one that was added and is not run: whoever waits for it hears so. */
export const refusedStatus = (
  { name, image }: { name: string; image?: string },
  message: string,
): ContainerStatus => ({
  name,
  image: image ?? '',
  imageID: '',
  state: { terminated: { exitCode: 128, reason: 'NotSupported', message } },
  lastState: {},
  ready: false,
  restartCount: 0,
});

function containerStatus(
  pod: Pod,
  container: { name: string; image?: string },
  facts: PodFacts,
): ContainerStatus {
  const known = facts.containers.get(container.name);
  const running = facts.runningSince !== undefined;
  return {
    name: container.name,
    image: container.image ?? '',
    imageID: running ? 'heddle://stand-in' : '',
    ...(running ? { containerID: `heddle://${pod.metadata.uid}/${container.name}` } : {}),
    state: running
      ? { running: { startedAt: facts.runningSince } }
      : {
          waiting: {
            reason: facts.trouble?.reason ?? 'ContainerCreating',
            ...(facts.trouble ? { message: facts.trouble.message } : {}),
          },
        },
    lastState: {},
    ready: running && !facts.terminating && (known?.ready ?? false),
    started: running && (known?.started ?? false),
    restartCount: known?.restarts ?? 0,
  };
}

/** A stand-in has nothing to prepare: its init containers are done the moment it starts. */
function finishedInit(
  pod: Pod,
  container: { name: string; image?: string },
  facts: PodFacts,
): ContainerStatus {
  const done = facts.runningSince;
  return {
    name: container.name,
    image: container.image ?? '',
    imageID: done ? 'heddle://stand-in' : '',
    state: done
      ? {
          terminated: {
            exitCode: 0,
            reason: 'Completed',
            message: 'not run: the pod is a stand-in',
            startedAt: done,
            finishedAt: done,
            containerID: `heddle://${pod.metadata.uid}/${container.name}`,
          },
        }
      : { waiting: { reason: 'PodInitializing' } },
    lastState: {},
    ready: done !== undefined,
    restartCount: 0,
  };
}

/** There only where a limit is asked for and not set. */
const LIMITS = 'heddle.dev/LimitsEnforced';
/** … or an annotation `heddle.dev/stand-in-…` passed over. */
const ANNOTATIONS = 'heddle.dev/StandInAnnotations';

const DISRUPTION = 'DisruptionTarget';

type Line = [type: string, ok: boolean, reason: string, message?: string];

function readyCondition(
  containers: boolean,
  barrier: boolean,
  closed: string[],
  unready: [reason: string, message?: string],
): Line {
  if (!containers) return ['Ready', false, ...unready];
  if (!barrier) return ['Ready', false, 'DatapathNotReady', 'the node has not programmed the pod yet'];
  if (closed.length > 0) return ['Ready', false, 'ReadinessGatesNotReady', `waits for ${closed.join(', ')}`];
  return ['Ready', true, ''];
}

function conditions(
  pod: Pod,
  facts: PodFacts,
  state: {
    network: boolean;
    containers: readonly ContainerStatus[];
    allReady: boolean;
    phase: RuntimeStatus['phase'];
  },
): Condition[] {
  const initialized = facts.runtime?.initialized ?? facts.runningSince !== undefined;
  const gates = (pod.spec?.readinessGates ?? []).map(({ conditionType }) => conditionType);
  const closed = gates.filter((type) => statusOf(pod, type) !== 'True');
  const unready = whyUnready(facts, state);
  const mine: Line[] = [
    ['PodReadyToStartContainers', state.network, ''],
    initializedCondition(pod, initialized, facts.runtime),
    readyCondition(state.allReady, facts.barrier, closed, unready),
    ['ContainersReady', state.allReady, ...unready],
    ['PodScheduled', true, ''],
    ...(facts.runtime?.unenforced
      ? [[LIMITS, false, 'NoController', facts.runtime.unenforced] satisfies Line]
      : []),
    ...(facts.unheeded ? [[ANNOTATIONS, false, 'InvalidAnnotation', facts.unheeded] satisfies Line] : []),
  ];
  const disrupted = facts.runtime?.reason === 'Evicted';
  const isMine = (type: string) =>
    type === ANNOTATIONS || (disrupted && type === DISRUPTION) || mine.some(([own]) => own === type);
  const others = (pod.status?.conditions ?? []).filter(({ type }) => !isMine(type));
  return [
    ...mine.map(([type, ok, reason, message]) => condition(pod, facts, type, ok, reason, message)),
    ...(disrupted ? [disruption(pod, facts)] : []),
    ...others,
  ];
}

/** The node ended the pod, not its programs: who counts failures need not count this one. */
function disruption(pod: Pod, facts: PodFacts): Condition {
  const line = condition(pod, facts, DISRUPTION, true, '');
  return { ...line, reason: 'TerminationByKubelet', message: facts.runtime?.message };
}

function initializedCondition(pod: Pod, initialized: boolean, runtime: RuntimeStatus | undefined): Line {
  const names = (pod.spec?.initContainers ?? []).map(({ name }) => name);
  const done = new Set(
    runtime?.initContainers.filter(({ ready, started }) => ready || started).map(({ name }) => name),
  );
  const missing = names.filter((name) => !done.has(name));
  return [
    'Initialized',
    initialized || names.length === 0,
    'ContainersNotInitialized',
    `containers with incomplete status: [${missing.join(' ')}]`,
  ];
}

function whyUnready(
  facts: PodFacts,
  { phase, containers }: { phase: RuntimeStatus['phase']; containers: readonly ContainerStatus[] },
): [reason: string, message?: string] {
  if (phase === 'Succeeded') return ['PodCompleted'];
  if (phase === 'Failed') return ['PodFailed'];
  if (facts.terminating) return ['PodTerminating'];
  const unready = containers.filter(({ ready }) => !ready).map(({ name }) => name);
  return ['ContainersNotReady', `containers with unready status: [${unready.join(' ')}]`];
}

const statusOf = (pod: Pod, type: string): string | undefined =>
  pod.status?.conditions?.find((one) => one.type === type)?.status;

function condition(
  pod: Pod,
  { now, written }: PodFacts,
  type: string,
  ok: boolean,
  reason: string,
  message?: string,
): Condition {
  const status = ok ? 'True' : 'False';
  const before = (written ?? pod.status)?.conditions?.find((one) => one.type === type);
  return {
    type,
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    status,
    ...(ok || reason === '' ? {} : { reason }),
    ...(ok || message === undefined ? {} : { message }),
    lastTransitionTime:
      before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : now,
  };
}
