/**
 * One range of addresses handed out in turn. Next-fit, so a released address comes back as late as possible:
 * kernels, caches and clients still hold state about its last owner. No I/O; time is an argument.
 */
import {
  bits,
  type Cidr,
  contains,
  formatAddress,
  formatCidr,
  lastOf,
  nth,
  parseCidr,
  tryParseAddress,
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

export interface Pool {
  readonly cidr: string;
  /** Undefined when every address is taken, or every one of `within` (both ends included). */
  take(now: number, within?: readonly Span[]): string | undefined;
  /** Marks one address taken; false when it is another's already or not one of this pool's. */
  claim(address: string): boolean;
  release(address: string, now: number): void;
  /** Canonical text and membership of the range. */
  covers(address: string): boolean;
  readonly taken: number;
  /** How many addresses can be taken at most; capped at 2^53. */
  readonly size: number;
  cooling(): { address: string; since: number }[];
  restoreCooling(address: string, since: number): void;
}

export function createPool(options: PoolOptions): Pool {
  const cidr = parseCidr(options.cidr);
  const first = bits(cidr.family) - cidr.length >= 2 ? 2n : 0n;
  const count = lastOf(cidr).value - cidr.value + 1n;
  const end = cidr.family === 4 && first > 0n ? count - 1n : count;
  const reserved = reservedOffsets(cidr, options.reserved ?? [], first, end);
  const taken = new Set<bigint>();
  /** Offsets in order of their release, with its time. */
  const resting = new Map<bigint, number>();
  let cursor = first;

  const size = Number(end - first) - reserved.size;
  const text = (offset: bigint) => formatAddress(nth(cidr, offset)!);
  const next = (offset: bigint) => (offset + 1n >= end ? first : offset + 1n);

  function offsetOf(address: string): bigint | undefined {
    const parsed = tryParseAddress(address);
    if (!parsed || !contains(cidr, parsed)) return undefined;
    const offset = parsed.value - cidr.value;
    return offset >= first && offset < end && !reserved.has(offset) ? offset : undefined;
  }

  function thaw(now: number): void {
    for (const [offset, since] of resting) {
      // A clock that went back must not rest an address for ever.
      if (now >= since && now - since < options.coolingMs) return;
      resting.delete(offset);
    }
  }

  const free = (offset: bigint): boolean => !taken.has(offset) && !reserved.has(offset);

  function findWithin(now: number, spans: readonly Span[]): bigint | undefined {
    thaw(now);
    let rested: bigint | undefined;
    for (const { first: from, last: to } of spans) {
      const [low, high] = [clamp(from), clamp(to)];
      for (let offset = low; offset <= high; offset += 1n) {
        if (!free(offset) || offset < first || offset >= end) continue;
        if (!resting.has(offset)) return offset;
        rested ??= offset;
      }
    }
    return rested;
  }

  function clamp(address: string): bigint {
    const parsed = tryParseAddress(address);
    const offset = parsed?.family === cidr.family ? parsed.value - cidr.value : -1n;
    return offset < 0n ? 0n : offset >= count ? count - 1n : offset;
  }

  function find(now: number): bigint | undefined {
    thaw(now);
    if (taken.size >= size) return undefined;
    const steps = taken.size + resting.size + reserved.size + 1;
    for (let i = 0, offset = cursor; i < steps; i++, offset = next(offset))
      if (free(offset) && !resting.has(offset)) return offset;
    return resting.keys().next().value;
  }

  return {
    cidr: formatCidr(cidr),
    size,
    get taken() {
      return taken.size;
    },
    take(now, within) {
      const offset = within ? findWithin(now, within) : find(now);
      if (offset === undefined) return undefined;
      taken.add(offset);
      resting.delete(offset);
      if (!within) cursor = next(offset);
      return text(offset);
    },
    claim(address) {
      const offset = offsetOf(address);
      if (offset === undefined || taken.has(offset)) return false;
      taken.add(offset);
      resting.delete(offset);
      return true;
    },
    release(address, now) {
      const offset = offsetOf(address);
      if (offset === undefined || !taken.delete(offset)) return;
      resting.delete(offset);
      resting.set(offset, now);
    },
    covers: (address) => offsetOf(address) !== undefined,
    cooling: () => [...resting].map(([offset, since]) => ({ address: text(offset), since })),
    restoreCooling(address, since) {
      const offset = offsetOf(address);
      if (offset !== undefined && !taken.has(offset)) resting.set(offset, since);
    },
  };
}

function reservedOffsets(cidr: Cidr, addresses: readonly string[], first: bigint, end: bigint): Set<bigint> {
  const offsets = new Set<bigint>();
  for (const address of addresses) {
    const parsed = tryParseAddress(address);
    if (!parsed || !contains(cidr, parsed)) continue;
    const offset = parsed.value - cidr.value;
    if (offset >= first && offset < end) offsets.add(offset);
  }
  return offsets;
}
