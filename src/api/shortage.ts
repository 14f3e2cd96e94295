/** What a machine is short of, in words that say how much is left. Pure. */
import type { Extent, MachineRoom } from '../lib/machine-room.ts';
import { leastOf, type Signal, type Thresholds } from './eviction.ts';
import { amountQuantity } from './quantity.ts';

/** A line for each signal that is below its threshold. */
export function shortagesOf(
  signals: readonly Signal[],
  thresholds: Thresholds,
  room: MachineRoom,
): readonly string[] {
  return signals.flatMap((signal) => {
    const threshold = thresholds[signal];
    const { capacity, available } = extentOf(signal, room);
    if (!threshold || capacity === 0) return [];
    const least = leastOf(threshold, capacity);
    return available < least
      ? [`${signal} is ${text(signal, available)}, expected ${text(signal, least)}`]
      : [];
  });
}

function extentOf(signal: Signal, { memory, disk, inodes, pids }: MachineRoom): Extent {
  if (signal === 'memory.available') return memory;
  if (signal === 'pid.available') return pids;
  return signal === 'nodefs.available' ? disk : inodes;
}

/** Bytes in whole Mi: to the byte nobody reads them. */
const text = (signal: Signal, amount: number): string =>
  signal === 'memory.available' || signal === 'nodefs.available'
    ? amountQuantity('memory', Math.round(amount / 2 ** 20) * 2 ** 20)
    : String(amount);
