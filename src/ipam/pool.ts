/**
 * One range of addresses handed out in turn. Next-fit, so a released address comes back as late as possible:
 * kernels, caches and clients still hold state about its last owner. No I/O; time is an argument.
 */
import {
  bits,
  type Cidr,
  contains,
  firstOf,
  formatAddress,
  formatCidr,
  lastOf,
  nth,
  parseCidr,
  tryParseAddress,
  tryParseCidr,
} from '../lib/ip.ts';

export interface PoolOptions {
  cidr: string;
  /** Addresses never handed out, besides the range's first two and, for IPv4, its last. */
  reserved?: readonly string[];
  /** Milliseconds a released address rests, as long as others are free. */
  coolingMs: number;
}

/** Addresses from one to another, both included. */
export interface Span {
  readonly first: string;
  readonly last: string;
}

/** How far one goes for an address: to a free one, to one that rests, to one that is kept for another. */
export const LEVELS = ['free', 'resting', 'kept'] as const;
export type Level = (typeof LEVELS)[number];

/** An address that waits for its former owner. */
export interface Kept {
  readonly address: string;
  readonly label: string;
  /** Milliseconds since 1970. */
  readonly until: number;
}

export interface Pool {
  readonly cidr: string;
  /** Undefined when there is none at this level, or none of `within` (both ends included). */
  take(now: number, level: Level, within?: readonly Span[]): string | undefined;
  /** Marks one address taken; false when it is another's already or not one of this pool's. */
  claim(address: string): boolean;
  /** With `keep` it waits for whoever has this label. */
  release(address: string, now: number, keep?: Omit<Kept, 'address'>): void;
  /** Canonical text and membership of the range. */
  covers(address: string): boolean;
  /** Addresses and ranges that are claimed only, never taken. */
  setReserved(cidrs: readonly string[]): void;
  readonly taken: number;
  /** How many addresses can be taken at most; capped at 2^53. */
  readonly size: number;
  /** How many of the range are reserved. */
  readonly reserved: number;
  /** How many are not free: taken, resting, kept or reserved, each counted once. */
  used(now: number): number;
  /** Of those that may be given, but not at once: resting, and kept for somebody. */
  waiting(now: number): { resting: number; kept: number };
  cooling(): { address: string; since: number }[];
  restoreCooling(address: string, since: number): void;
  kept(now: number): Kept[];
  restoreKept(kept: Kept): void;
}

/** Offsets from one to another, both included. */
type Range = readonly [low: bigint, high: bigint];

export function createPool(options: PoolOptions): Pool {
  const cidr = parseCidr(options.cidr);
  const first = bits(cidr.family) - cidr.length >= 2 ? 2n : 0n;
  const count = lastOf(cidr).value - cidr.value + 1n;
  const end = cidr.family === 4 && first > 0n ? count - 1n : count;
  const never = rangesIn(cidr, options.reserved ?? [], first, end);
  let reserved = never;
  const taken = new Set<bigint>();
  /** Offsets in order of their release, with its time. */
  const resting = new Map<bigint, number>();
  const keeping = new Map<bigint, Omit<Kept, 'address'>>();
  let cursor = first;

  const text = (offset: bigint) => formatAddress(nth(cidr, offset)!);
  const next = (offset: bigint) => (offset + 1n >= end ? first : offset + 1n);
  const holder = (ranges: readonly Range[], offset: bigint) =>
    ranges.find(([low, high]) => offset >= low && offset <= high);
  const sizeOf = (ranges: readonly Range[]) =>
    ranges.reduce((sum, [low, high]) => sum + Number(high - low + 1n), 0);

  function offsetOf(address: string): bigint | undefined {
    const parsed = tryParseAddress(address);
    if (!parsed || !contains(cidr, parsed)) return undefined;
    const offset = parsed.value - cidr.value;
    return offset >= first && offset < end && !holder(never, offset) ? offset : undefined;
  }

  function thaw(now: number): void {
    for (const [offset, { until }] of keeping) if (until <= now) keeping.delete(offset);
    for (const [offset, since] of resting) {
      // A clock that went back must not rest an address for ever.
      if (now >= since && now - since < options.coolingMs) return;
      resting.delete(offset);
    }
  }

  const levelOf = (offset: bigint): Level =>
    keeping.has(offset) ? 'kept' : resting.has(offset) ? 'resting' : 'free';

  function findWithin(level: Level, spans: readonly Span[]): bigint | undefined {
    for (const { first: from, last: to } of spans) {
      const [low, high] = [clamp(from), clamp(to)];
      for (let offset = low; offset <= high; offset += 1n) {
        const skip = holder(reserved, offset);
        if (skip) offset = skip[1];
        else if (!taken.has(offset) && offset >= first && offset < end && levelOf(offset) === level)
          return offset;
      }
    }
    return undefined;
  }

  function clamp(address: string): bigint {
    const parsed = tryParseAddress(address);
    const offset = parsed?.family === cidr.family ? parsed.value - cidr.value : -1n;
    return offset < 0n ? 0n : offset >= count ? count - 1n : offset;
  }

  function findFree(): bigint | undefined {
    const steps = taken.size + resting.size + keeping.size + 2 * reserved.length + 1;
    for (let i = 0, offset = cursor; i < steps; i++, offset = next(offset)) {
      const skip = holder(reserved, offset);
      if (skip) offset = skip[1];
      else if (!taken.has(offset) && levelOf(offset) === 'free') return offset;
    }
    return undefined;
  }

  function findReleased(level: Level): bigint | undefined {
    for (const offset of (level === 'kept' ? keeping : resting).keys())
      if (levelOf(offset) === level && !holder(reserved, offset)) return offset;
    return undefined;
  }

  function occupy(offset: bigint): void {
    taken.add(offset);
    resting.delete(offset);
    keeping.delete(offset);
  }

  return {
    cidr: formatCidr(cidr),
    get size() {
      return Number(end - first) - sizeOf(reserved);
    },
    get taken() {
      return taken.size;
    },
    get reserved() {
      return sizeOf(reserved);
    },
    used(now) {
      thaw(now);
      const touched = new Set([...taken, ...resting.keys(), ...keeping.keys()]);
      return sizeOf(reserved) + [...touched].filter((offset) => !holder(reserved, offset)).length;
    },
    waiting(now) {
      thaw(now);
      const open = [...new Set([...resting.keys(), ...keeping.keys()])].filter(
        (offset) => !holder(reserved, offset),
      );
      const kept = open.filter((offset) => keeping.has(offset)).length;
      return { resting: open.length - kept, kept };
    },
    take(now, level, within) {
      thaw(now);
      const find = () => (level === 'free' ? findFree() : findReleased(level));
      const offset = within ? findWithin(level, within) : find();
      if (offset === undefined) return undefined;
      occupy(offset);
      if (!within) cursor = next(offset);
      return text(offset);
    },
    claim(address) {
      const offset = offsetOf(address);
      if (offset === undefined || taken.has(offset)) return false;
      occupy(offset);
      return true;
    },
    release(address, now, keep) {
      const offset = offsetOf(address);
      if (offset === undefined || !taken.delete(offset)) return;
      resting.delete(offset);
      resting.set(offset, now);
      if (keep) keeping.set(offset, keep);
    },
    covers: (address) => offsetOf(address) !== undefined,
    setReserved(cidrs) {
      reserved = merged([...never, ...rangesIn(cidr, cidrs, first, end)]);
    },
    cooling: () => [...resting].map(([offset, since]) => ({ address: text(offset), since })),
    restoreCooling(address, since) {
      const offset = offsetOf(address);
      if (offset !== undefined && !taken.has(offset)) resting.set(offset, since);
    },
    kept(now) {
      thaw(now);
      return [...keeping].map(([offset, kept]) => ({ address: text(offset), ...kept }));
    },
    restoreKept({ address, ...kept }) {
      const offset = offsetOf(address);
      if (offset !== undefined && !taken.has(offset)) keeping.set(offset, kept);
    },
  };
}

/** Of addresses and ranges the parts from `first` up to `end`. */
function rangesIn(cidr: Cidr, texts: readonly string[], first: bigint, end: bigint): Range[] {
  const ranges: Range[] = [];
  for (const each of texts) {
    const address = tryParseAddress(each);
    const range = address ? undefined : tryParseCidr(each);
    const [from, to] = range ? [firstOf(range), lastOf(range)] : [address, address];
    if (!from || !to || from.family !== cidr.family) continue;
    const [low, high] = [from.value - cidr.value, to.value - cidr.value];
    if (high >= first && low < end) ranges.push([low < first ? first : low, high >= end ? end - 1n : high]);
  }
  return merged(ranges);
}

function merged(ranges: readonly Range[]): Range[] {
  const sorted = ranges.toSorted((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  const whole: Range[] = [];
  for (const [low, high] of sorted) {
    const last = whole.at(-1);
    if (!last || low > last[1] + 1n) whole.push([low, high]);
    else if (high > last[1]) whole[whole.length - 1] = [last[0], high];
  }
  return whole;
}
