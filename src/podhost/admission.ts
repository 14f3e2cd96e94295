/**
 * What a node does not take though somebody sent it there (`spec.nodeName`): pods beyond its room, and new ones while it is
 * short of something. Reasons and words are a kubelet's. Pure.
 */
import { qosClass } from '../api/pod-defaults.ts';
import { type Amounts, amountsOf, podRequests } from '../api/pod-requests.ts';
import type { Pod } from '../api/types.ts';
import type { PodStatus } from './status.ts';

export interface Rejection {
  /** `OutOfcpu`, `Evicted`, … */
  readonly reason: string;
  readonly message: string;
}

export interface NodeState {
  /** Quantities by name of the resource; undefined: nobody knows, and room is not looked at. */
  readonly allocatable?: Readonly<Record<string, string>> | undefined;
  /** What of its room a pod takes; absent: what it requests. */
  takes?(pod: Pod): Amounts;
  /** Types of conditions that are true: `DiskPressure`. */
  readonly pressures: readonly string[];
}

export interface Admission {
  /** Counts a pod that is here already. */
  take(pod: Pod): void;
  /** Why the node does not take it; undefined, and it is counted, if it does. */
  admit(pod: Pod): Rejection | undefined;
}

const MEMORY = { key: 'node.kubernetes.io/memory-pressure', effect: 'NoSchedule' };
/** Pods of this priority and above are the cluster's own (scheduling.k8s.io, SystemCriticalPriority). */
const CRITICAL = 2_000_000_000;

export function createAdmission({ allocatable, pressures, takes = podRequests }: NodeState): Admission {
  const room = allocatable && amountsOf(allocatable);
  const asked = new Map<string, number>([['pods', 0]]);
  // It is one pod, whatever its containers say that they request of pods.
  const wishes = (pod: Pod): Amounts => new Map([['pods', 1], ...takes(pod), ['pods', 1]]);
  const used = (name: string) => asked.get(name) ?? 0;

  function take(pod: Pod): void {
    for (const [name, amount] of wishes(pod)) asked.set(name, used(name) + amount);
  }

  function shortage(pod: Pod): Rejection | undefined {
    if (!room) return undefined;
    for (const [name, amount] of wishes(pod)) {
      const capacity = room.get(name) ?? 0;
      if (amount <= capacity - used(name)) continue;
      const numbers = `requested: ${amount}, used: ${used(name)}, capacity: ${capacity}`;
      return rejection(`OutOf${name}`, `Node didn't have enough resource: ${name}, ${numbers}`);
    }
    return undefined;
  }

  return {
    take,
    admit(pod) {
      const why = underPressure(pod, pressures) ?? shortage(pod);
      if (!why) take(pod);
      return why;
    },
  };
}

/** A pod that asks for memory is taken to get by with little. */
function underPressure(pod: Pod, pressures: readonly string[]): Rejection | undefined {
  if (pressures.length === 0 || (pod.spec?.priority ?? 0) >= CRITICAL) return undefined;
  const getsBy = pressures.every((one) => one === 'MemoryPressure') && standsShortMemory(pod);
  return getsBy ? undefined : rejection('Evicted', `The node had condition: [${pressures.join(' ')}]. `);
}

const standsShortMemory = ({ spec }: Pod): boolean =>
  spec !== undefined &&
  (qosClass(spec) !== 'BestEffort' ||
    (spec.tolerations ?? []).some(
      ({ key, operator, effect }) =>
        (!effect || effect === MEMORY.effect) && (key === MEMORY.key || (!key && operator === 'Exists')),
    ));

const rejection = (reason: string, message: string): Rejection => ({
  reason,
  message: `Pod was rejected: ${message}`,
});

/** Of a pod that was never begun. */
export const rejectedStatus = (pod: Pod, { reason, message }: Rejection, startTime: string): PodStatus => ({
  phase: 'Failed',
  reason,
  message,
  startTime,
  ...(pod.spec ? { qosClass: qosClass(pod.spec) } : {}),
});
