/** What a container, and a pod, may use of the machine: as a kubelet reckons it. Pure. */
import { qosClass } from '../../api/pod-defaults.ts';
import { sumOf } from '../../api/pod-requests.ts';
import { quantityValue } from '../../api/quantity.ts';
import type { Pod } from '../../api/types.ts';
import type { Container } from './types.ts';

export interface Limits {
  /** Bytes. */
  memory?: number;
  /** Processors. */
  cpu?: number;
  /** As cgroup v1 counts them. */
  shares: number;
  pids?: number;
}

type Kind = 'limits' | 'requests';

/** As each user of a pod has: see pause-identity.c. */
const CONTAINER_PIDS = 4096;

export const amountOf = ({ resources }: Container, kind: Kind, name: string): number | undefined => {
  const asked = resources?.[kind]?.[name];
  return asked === undefined ? undefined : quantityValue(String(asked));
};

/** 0 is no limit. */
const limitOf = (container: Container, name: string) => amountOf(container, 'limits', name) || undefined;

/** A limit stands for a request that is not made. */
const requestOf = (container: Container, name: string): number =>
  amountOf(container, 'requests', name) ?? amountOf(container, 'limits', name) ?? 0;

/** A kubelet's MilliCPUToShares. */
export const sharesOf = (cpu: number): number =>
  Math.min(262_144, Math.max(2, Math.floor((Math.ceil(cpu * 1000) * 1024) / 1000)));

export function containerLimits(container: Container): Limits {
  const [memory, cpu] = [limitOf(container, 'memory'), limitOf(container, 'cpu')];
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    shares: sharesOf(requestOf(container, 'cpu')),
    pids: CONTAINER_PIDS,
  };
}

/**
 * Of all containers together; a limit of processors where each has one. None of memory: each container has its own, and
 * the pod's holder, and what starts containers, must not be ended in a container's stead.
 */
export function podLimits({ spec }: Pod): Limits {
  if (!spec) return { shares: sharesOf(0) };
  const all = [...(spec.initContainers ?? []), ...spec.containers];
  const isLimited = all.every((one) => limitOf(one, 'cpu') !== undefined);
  return {
    ...(isLimited ? { cpu: sumOf(spec, (one) => limitOf(one, 'cpu') ?? 0) } : {}),
    shares: sharesOf(sumOf(spec, (one) => requestOf(one, 'cpu'))),
  };
}

const SHIELDED = -997;
const FIRST_TO_GO = 1000;
const NODE_CRITICAL = 'system-node-critical';

/** A kubelet's `oom_score_adj`: who asks for much of the node's memory is ended later. `capacity` in bytes. */
export function oomScore(pod: Pod, container: Container, capacity: number): number {
  const { spec } = pod;
  if (!spec) return FIRST_TO_GO;
  if (spec.priorityClassName === NODE_CRITICAL) return SHIELDED;
  const quality = qosClass(spec);
  if (quality !== 'Burstable') return quality === 'Guaranteed' ? SHIELDED : FIRST_TO_GO;
  const own = requestOf(container, 'memory');
  const isSidecar = container.restartPolicy === 'Always' && spec.initContainers?.includes(container);
  // A sidecar is not to go before those that it is there for.
  const least = Math.min(...spec.containers.map((one) => requestOf(one, 'memory')));
  const score = FIRST_TO_GO - Math.floor((1000 * (isSidecar ? Math.max(own, least) : own)) / capacity);
  if (score < FIRST_TO_GO + SHIELDED) return FIRST_TO_GO + SHIELDED;
  return score === FIRST_TO_GO ? FIRST_TO_GO - 1 : score;
}

/** Limits that any container asks for, by name. */
export const askedOf = ({ spec }: Pod): ('memory' | 'cpu')[] =>
  (['memory', 'cpu'] as const).filter((name) =>
    [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].some(
      (one) => limitOf(one, name) !== undefined,
    ),
  );
