/** What a node tells of its room: capacity, and what of it pods may ask for. Pure. */
import { type Threshold, type Thresholds, leastOf } from '../api/eviction.ts';
import { amountOf } from '../api/pod-requests.ts';
import { amountQuantity } from '../api/quantity.ts';
import type { Extent, MachineRoom } from '../lib/machine-room.ts';

export interface NodeRoom {
  /** Quantities by name of the resource. */
  readonly capacity: Readonly<Record<string, string>>;
  readonly allocatable: Readonly<Record<string, string>>;
}

/** Pods that a node takes: the kubelet's default is 110; stand-ins are lighter. */
const MAX_PODS = 1000;

/**
 * `share`: the node's own, by name; it is the pods' whole. Of what is not named a node has all that the machine has,
 * as many nodes as there may be; of that pods get what eviction thresholds and, of memory, huge pages leave, as a kubelet
 * reckons it.
 */
export function nodeRoom(
  machine: MachineRoom,
  thresholds: Thresholds,
  share: Readonly<Record<string, string | number>> = {},
): NodeRoom {
  const { memory, disk, hugePages } = machine;
  const huge = Object.values(hugePages).reduce((sum, bytes) => sum + bytes, 0);
  const capacity = new Map(
    Object.entries({
      cpu: machine.cpus * 1000,
      memory: memory.capacity,
      'ephemeral-storage': disk.capacity,
      ...hugePages,
      pods: MAX_PODS,
    }),
  );
  const allocatable = new Map([
    ...capacity,
    ['memory', leftOf(memory, thresholds['memory.available']) - huge],
    ['ephemeral-storage', leftOf(disk, thresholds['nodefs.available'])],
  ]);
  for (const [name, quantity] of Object.entries(share)) {
    const amount = amountOf(name, quantity) ?? 0;
    capacity.set(name, amount);
    allocatable.set(name, amount);
  }
  return { capacity: quantities(capacity), allocatable: quantities(allocatable) };
}

/**
 * What is told of a machine after `told`: file systems that share their room with others (ZFS, btrfs) have another size
 * with every file that those get, and each size that a node tells is a write, and a look at all pods that wait.
 */
export const steady = (told: MachineRoom | undefined, now: MachineRoom): MachineRoom =>
  told ? { ...now, memory: near(told.memory, now.memory), disk: near(told.disk, now.disk) } : now;

const near = (told: Extent, now: Extent): Extent =>
  Math.abs(now.capacity - told.capacity) <= told.capacity / 100 ? told : now;

const leftOf = ({ capacity }: Extent, threshold: Threshold | undefined): number =>
  capacity - (threshold ? leastOf(threshold, capacity) : 0);

const quantities = (amounts: ReadonlyMap<string, number>): Record<string, string> =>
  Object.fromEntries([...amounts].map(([name, amount]) => [name, amountQuantity(name, Math.max(0, amount))]));
