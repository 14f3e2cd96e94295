/** A pod's status as a kubelet writes it, from what the pod host knows. Pure. */
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
  /** Why the pod does not come up. */
  trouble: { reason: string; message: string } | undefined;
  /** What was written last: newer than what the API server has told us. */
  written: PodStatus | undefined;
  /** Now, ISO, to the second. */
  now: string;
}

export function podStatus(pod: Pod, facts: PodFacts): PodStatus {
  const { containers, initContainers, phase } = facts.runtime
    ? fromRuntime(facts.runtime, facts)
    : ofStandIn(pod, facts);
  const allReady =
    facts.runningSince !== undefined && !facts.terminating && containers.every(({ ready }) => ready);
  return {
    phase,
    conditions: conditions(pod, facts, { network: facts.addresses.length > 0, allReady, phase }),
    hostIP: facts.hostAddresses[0],
    hostIPs: facts.hostAddresses.map((ip) => ({ ip })),
    ...(facts.addresses.length > 0
      ? { podIP: facts.addresses[0], podIPs: facts.addresses.map((ip) => ({ ip })) }
      : {}),
    startTime: facts.startTime,
    ...(initContainers.length > 0 ? { initContainerStatuses: initContainers } : {}),
    containerStatuses: containers,
    qosClass: qosClass(pod),
  };
}

interface Parts {
  phase: RuntimeStatus['phase'];
  containers: ContainerStatus[];
  initContainers: ContainerStatus[];
}

/** Who is to go gets no traffic, whatever its probes say. */
const fromRuntime = ({ phase, containers, initContainers }: RuntimeStatus, facts: PodFacts): Parts => ({
  phase,
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
  };
}

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

type Line = [type: string, ok: boolean, reason: string, message?: string];

function readyCondition(containers: boolean, barrier: boolean, closed: string[], unready: string): Line {
  if (!containers) return ['Ready', false, unready];
  if (!barrier) return ['Ready', false, 'DatapathNotReady', 'the node has not programmed the pod yet'];
  if (closed.length > 0) return ['Ready', false, 'ReadinessGatesNotReady', `waits for ${closed.join(', ')}`];
  return ['Ready', true, ''];
}

function conditions(
  pod: Pod,
  facts: PodFacts,
  state: { network: boolean; allReady: boolean; phase: RuntimeStatus['phase'] },
): Condition[] {
  const initialized = facts.runtime?.initialized ?? facts.runningSince !== undefined;
  const gates = (pod.spec?.readinessGates ?? []).map(({ conditionType }) => conditionType);
  const closed = gates.filter((type) => statusOf(pod, type) !== 'True');
  const unready = unreadyReason(facts, state.phase);
  const mine: Line[] = [
    ['PodReadyToStartContainers', state.network, ''],
    ['Initialized', initialized || (pod.spec?.initContainers ?? []).length === 0, 'ContainersNotInitialized'],
    readyCondition(state.allReady, facts.barrier, closed, unready),
    ['ContainersReady', state.allReady, unready],
    ['PodScheduled', true, ''],
    ...(facts.runtime?.unenforced
      ? [[LIMITS, false, 'NoController', facts.runtime.unenforced] satisfies Line]
      : []),
  ];
  const others = (pod.status?.conditions ?? []).filter(({ type }) => !mine.some(([own]) => own === type));
  return [
    ...mine.map(([type, ok, reason, message]) => condition(pod, facts, type, ok, reason, message)),
    ...others,
  ];
}

function unreadyReason(facts: PodFacts, phase: RuntimeStatus['phase']): string {
  if (phase === 'Succeeded') return 'PodCompleted';
  if (phase === 'Failed') return 'PodFailed';
  return facts.terminating ? 'PodTerminating' : 'ContainersNotReady';
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
    status,
    ...(ok || reason === '' ? {} : { reason }),
    ...(ok || message === undefined ? {} : { message }),
    lastTransitionTime:
      before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : now,
  };
}

/** Kubernetes' three classes of service. */
export function qosClass(pod: Pod): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const all = [...containersOf(pod), ...(pod.spec?.initContainers ?? [])].map(
    ({ resources }) => resources ?? {},
  );
  const names = ['cpu', 'memory'] as const;
  const has = (list: object | undefined) => names.some((name) => list !== undefined && name in list);
  if (all.every(({ limits, requests }) => !has(limits) && !has(requests))) return 'BestEffort';
  const whole = all.every(({ limits, requests }) =>
    names.every((name) => {
      const limit = limits?.[name];
      const request = requests?.[name] ?? limit;
      return limit !== undefined && String(request) === String(limit);
    }),
  );
  return whole ? 'Guaranteed' : 'Burstable';
}
