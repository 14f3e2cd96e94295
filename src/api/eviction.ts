/** When a node is short of something: a kubelet's hard eviction thresholds (`--eviction-hard`). Pure. */
import { quantityValue } from './quantity.ts';

export const SIGNALS = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'pid.available',
] as const;
export type Signal = (typeof SIGNALS)[number];

export interface Threshold {
  /** Of bytes, inodes or processes that are left. */
  readonly amount?: number | undefined;
  /** Of all there are, 0 to 1. With both, the lesser counts. */
  readonly share?: number | undefined;
}

export type Thresholds = Readonly<Partial<Record<Signal, Threshold>>>;

/**
 * A kubelet's own, but for the disk: its 10 % (and 5 % of inodes) are for machines that do nothing else. A laptop
 * whose disk of 1 TB is 92 % full has 80 GB left, and its pods work. Local pods get into trouble by what is left
 * of it, not by its share: 1 GiB, and no more than a kubelet's share where the file system is a small one.
 */
export const DEFAULT_THRESHOLDS: Thresholds = {
  'memory.available': { amount: 100 * 2 ** 20 },
  'nodefs.available': { amount: 2 ** 30, share: 0.1 },
  'nodefs.inodesFree': { share: 0.01 },
};

export const THRESHOLD_WORDS = `"none", or a list such as nodefs.available<10%,memory.available<100Mi of the signals ${SIGNALS.join(', ')}`;

/** As a kubelet reads it: signals that are not named have no threshold. Undefined for what is none. */
export function parseThresholds(text: string): Thresholds | undefined {
  if (text === 'none') return {};
  const thresholds: Partial<Record<Signal, Threshold>> = {};
  for (const part of text.split(',')) {
    const [name, given = ''] = part.trim().split('<', 2);
    const signal = SIGNALS.find((one) => one === name);
    const threshold = parseThreshold(given.trim());
    if (!signal || !threshold || thresholds[signal]) return undefined;
    thresholds[signal] = threshold;
  }
  return thresholds;
}

function parseThreshold(text: string): Threshold | undefined {
  const share = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (share !== undefined) return Number(share) <= 100 ? { share: Number(share) / 100 } : undefined;
  const amount = quantityValue(text);
  return amount === undefined || amount < 0 || !Number.isFinite(amount) ? undefined : { amount };
}

/** How much has to be left of `capacity`. */
export function leastOf({ amount, share }: Threshold, capacity: number): number {
  const part = share === undefined ? Number.POSITIVE_INFINITY : share * capacity;
  const least = Math.min(amount ?? Number.POSITIVE_INFINITY, part);
  return Number.isFinite(least) ? Math.ceil(least) : 0;
}
