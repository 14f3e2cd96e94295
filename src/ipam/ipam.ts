/** Addresses of a node's pods: one of each family per attachment, remembered across restarts. */
import { type Clock, systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { contains, type Family, parseAddress, parseCidr } from '../lib/ip.ts';
import type { Log } from '../lib/log.ts';
import { createStateFile } from '../lib/state-file.ts';
import { isBook } from './book.ts';
import {
  createBlockSet,
  DEFAULT_POOL,
  type Group,
  keptFor,
  type PoolState,
  takeFrom,
  type Usage,
} from './blocks.ts';
import type { Pool, Kept, Span } from './pool.ts';
import { exhausted, outside, spanOutside, takenError, twice, unknownPool } from './refusals.ts';

export interface Owner {
  /** Unique per attachment: container id and interface name. */
  key: string;
  /** For people: `namespace/name`. */
  label: string;
  /** Milliseconds for which its addresses wait for whoever comes back under its label. */
  sticky?: number;
  /** Whatever else must be known to undo what the owner is given; plain JSON. */
  details?: unknown;
}

/** What an owner asks for beside one address of each family of the pool `default`. */
export interface Wish {
  /** These and no others, at most one of a family; the other families give one as ever. */
  addresses?: readonly string[];
  /** Addresses of these only. Families of which it has none give none. */
  within?: readonly Span[];
  /** No address at all. */
  none?: boolean;
  /** Names of pools, by family: each gives addresses of that family if it has them. */
  pools?: Readonly<Record<Family, string>>;
}

export interface Allocation extends Owner {
  /** One per family at most, IPv4 first. */
  addresses: string[];
}

export interface IpamOptions {
  /** First blocks of the pool `default`, which the node always has: one per family. */
  cidrs: readonly string[];
  reserved?: readonly string[];
  /** JSON file of what is taken. */
  path: string;
  /** Milliseconds a released address rests while others are free. Default 60,000. */
  coolingMs?: number;
  /** Milliseconds to wait for a block of a pool that grows. Default 0. */
  patienceMs?: number;
  clock?: Clock;
  log: Log;
}

/** Addresses of a pool that are in use, or will be soon. */
export interface Need {
  readonly pool: string;
  readonly family: Family;
  readonly addresses: number;
}

/** What an owner turned out to have. */
export interface Claim {
  readonly owner: Owner;
  readonly addresses: readonly string[];
}

export interface Ipam {
  /**
   * On disk when it resolves; the same owner gets the same again, unless it wishes others.
   * @throws HeddleError `AddressesExhausted`, `AddressTaken`, `AddressOutside`, `PoolUnknown`
   */
  allocate(owner: Owner, wish?: Wish): Promise<Allocation>;
  /** Gives back what `key` holds; nothing happens when it holds nothing. */
  release(key: string): Promise<void>;
  get(key: string): Allocation | undefined;
  list(): Allocation[];
  /**
   * Books what `owner` turned out to have, beside what the book says of it. On disk when it resolves.
   * False where another has one of them, or no block does; then nothing is booked.
   */
  claim(owner: Owner, addresses: readonly string[]): Promise<boolean>;
  /**
   * The same for many who are in no book, in one write: each is booked at once, with those of its addresses that it can have.
   * Who is booked already is left as it is. `saved` says when, or why not, it is on disk.
   */
  adopt(claims: readonly Claim[]): { refused: { key: string; address: string }[]; saved: Promise<void> };
  /** Whether it is of a block, be it one that gives nothing more. */
  covers(address: string): boolean;
  /** Block by block. */
  usage(): Usage[];
  /** What there is beside the first blocks. What is not named any more gives nothing; what is taken of it stays. */
  setPools(pools: ReadonlyMap<string, PoolState>): void;
  /** Addresses and ranges that are given only to whom asks for the very one. */
  setReserved(cidrs: readonly string[]): void;
  needs(): Need[];
  /** Whether a pool may be given further blocks. */
  grows(pool: string): boolean;
  /** Of a pool, blocks without any use, never the first ones. */
  unused(pool: string): string[];
  /** Addresses that wait for their former owners. */
  kept(): Kept[];
  /** Addresses that rest, with the time of their release in milliseconds since 1970. */
  cooling(): { address: string; since: number }[];
  /** Told when needs may have changed. */
  onChange(listener: () => void): void;
}

interface Saved {
  version: 1;
  allocations: Allocation[];
  cooling: { address: string; since: number }[];
  kept?: Kept[];
  pools?: [string, PoolState][];
}

/** Milliseconds for which one that was refused counts as a need: it comes again. */
const WANTED_FOR = 60_000;

/** @throws HeddleError `BadCidr`; a state file that is damaged is set aside with a warning. */
export async function createIpam(options: IpamOptions): Promise<Ipam> {
  const { clock = systemClock, log, patienceMs = 0 } = options;
  const blocks = createBlockSet({
    home: options.cidrs,
    never: options.reserved,
    coolingMs: options.coolingMs ?? 60_000,
  });
  const file = createStateFile<Saved>(options.path, { synced: false, isWhole: isBook });
  const owners = new Map<string, Allocation>();
  const wanting = new Map<string, { groups: readonly Group[]; until: number }>();
  const listeners: (() => void)[] = [];
  let pools: ReadonlyMap<string, PoolState> = new Map();
  let grown = Promise.withResolvers<void>();

  const everyBlock = () => blocks.groups().flatMap((group) => [...group.blocks, ...group.retired]);
  const snapshot = (): Saved => ({
    version: 1,
    allocations: [...owners.values()],
    cooling: everyBlock().flatMap((block) => block.cooling()),
    kept: everyBlock().flatMap((block) => block.kept(clock.now())),
    pools: [...heldPools()],
  });
  /** Something that is done here is not on disk: whoever comes next tries again. */
  let unsaved = false;
  async function save(): Promise<void> {
    unsaved = true;
    await file.save(snapshot);
    unsaved = false;
  }
  const changed = () => {
    for (const listener of listeners) listener();
  };

  /** With the blocks that are no longer the node's while something of them is taken: they are found again by it. */
  function heldPools(): Map<string, PoolState> {
    const held = new Map(pools);
    for (const { pool, family, retired } of blocks.groups()) {
      if (retired.length === 0) continue;
      const state = held.get(pool) ?? { families: [family], blocks: [], grows: false };
      held.set(pool, { ...state, blocks: [...state.blocks, ...retired.map(({ cidr }) => cidr)] });
    }
    return held;
  }

  function restore(saved: Saved | undefined): void {
    pools = new Map(saved?.pools ?? []);
    blocks.set(pools, clock.now());
    for (const allocation of saved?.allocations ?? []) adopt(allocation);
    for (const { address, since } of saved?.cooling ?? [])
      blocks.find(address)?.restoreCooling(address, since);
    for (const kept of saved?.kept ?? []) blocks.find(kept.address)?.restoreKept(kept);
  }

  /** False when an address is another's or of no block; then nothing is taken. */
  function adopt(allocation: Allocation): boolean {
    const claimed: [Pool, string][] = [];
    for (const address of allocation.addresses) {
      const block = blocks.find(address);
      if (block?.claim(address)) {
        claimed.push([block, address]);
        continue;
      }
      for (const [owner, held] of claimed) owner.release(held, clock.now());
      return false;
    }
    owners.set(allocation.key, { ...allocation });
    return true;
  }

  function groupsFor({ none, pools: names }: Wish): Group[] {
    if (none) return [];
    return ([4, 6] as const).flatMap((family) => {
      const pool = names?.[family] ?? DEFAULT_POOL;
      const groups = blocks.of(pool);
      if (!groups) throw unknownPool(pool, [...new Set(blocks.groups().map((group) => group.pool))]);
      return groups.filter((group) => group.family === family);
    });
  }

  /** @param patient rather nothing, as `scarce`, than an address that rests while more blocks can be had */
  function take(owner: Owner, wish: Wish, patient: boolean): Allocation | { scarce: Group[] } {
    const wished = wishedAddresses(wish, blocks.usable());
    for (const span of wish.within ?? []) checkSpan(span, blocks.usable());
    const groups = groupsFor(wish);
    for (const [family, address] of wished)
      if (!groups.some((group) => group.family === family)) throw outside(address, blocks.usable());
    const held: string[] = [];
    const giveBack = () => {
      for (const address of held) blocks.find(address)?.release(address, clock.now());
    };
    try {
      for (const group of groups) {
        const address = takeOne(group, owner, wish, { wished: wished.get(group.family), patient });
        if (address === 'scarce') {
          giveBack();
          return { scarce: groups };
        }
        if (address !== undefined) held.push(address);
      }
    } catch (error) {
      giveBack();
      throw error;
    }
    return { ...owner, addresses: held };
  }

  function takeOne(
    group: Group,
    owner: Owner,
    { within }: Wish,
    { wished, patient }: { wished: string | undefined; patient: boolean },
  ): string | undefined {
    if (wished !== undefined) {
      if (blocks.find(wished)?.claim(wished)) return wished;
      throw takenError(wished, [...owners.values()]);
    }
    const now = clock.now();
    const spans = within?.filter(({ first }) => first.includes(':') === (group.family === 6));
    if (spans?.length === 0) return undefined;
    const former = owner.sticky && !spans ? keptFor(group, owner.label, now)?.address : undefined;
    if (former !== undefined && blocks.find(former)?.claim(former)) return former;
    const wait = patient && group.grows && !spans;
    const address = takeFrom(group, now, { upTo: wait ? 'free' : 'kept', within: spans });
    if (address !== undefined) return address;
    if (wait) return 'scarce';
    throw exhausted(group, [...owners.values()], spans);
  }

  function drop(key: string): boolean {
    const held = owners.get(key);
    if (!held) return false;
    owners.delete(key);
    const now = clock.now();
    const keep = held.sticky ? { label: held.label, until: now + held.sticky } : undefined;
    for (const address of held.addresses) blocks.find(address)?.release(address, now, keep);
    return true;
  }

  /** Gives a pool that grows some time to do so. */
  async function obtain(owner: Owner, wish: Wish): Promise<Allocation> {
    const end = clock.monotonic() + patienceMs;
    for (;;) {
      const patient = clock.monotonic() < end;
      const held = owners.get(owner.key) ?? tryTake(owner, wish, patient);
      if (!('scarce' in held)) return held;
      want(owner.key, held.scarce);
      const stop = new AbortController();
      const pause = clock.sleep(Math.max(1, end - clock.monotonic()), stop.signal).catch(() => {});
      await Promise.race([grown.promise, pause]);
      stop.abort();
    }
  }

  function tryTake(owner: Owner, wish: Wish, patient: boolean): Allocation | { scarce: Group[] } {
    try {
      const held = take(owner, wish, patient);
      if (!('scarce' in held)) {
        owners.set(owner.key, held);
        wanting.delete(owner.key);
      }
      return held;
    } catch (error) {
      if (error instanceof HeddleError && error.code === 'AddressesExhausted')
        want(owner.key, groupsFor(wish));
      throw error;
    }
  }

  function want(key: string, groups: readonly Group[]): void {
    const isNew = !wanting.has(key);
    wanting.set(key, { groups, until: clock.now() + WANTED_FOR });
    if (isNew) changed();
  }

  restore(await file.loadWhole(log, 'the address book is rebuilt from live pods'));

  return {
    async allocate(owner, wish = {}) {
      const had = owners.get(owner.key);
      if (had && wish.addresses?.some((address) => !had.addresses.includes(address))) drop(owner.key);
      const { addresses } = await obtain(owner, wish);
      const held = { ...owner, addresses };
      owners.set(owner.key, held);
      try {
        await save();
      } catch (error) {
        // Who had something goes on to have it: what else is known of it there is needed to take it back.
        if (had?.addresses.join() === addresses.join()) owners.set(owner.key, had);
        else {
          drop(owner.key);
          if (had) adopt(had);
        }
        throw error;
      } finally {
        changed();
      }
      return held;
    },
    async release(key) {
      if (wanting.delete(key)) changed();
      if (drop(key)) changed();
      else if (!unsaved) return;
      await save();
    },
    get: (key) => owners.get(key),
    list: () => [...owners.values()],
    async claim(owner, addresses) {
      const had = owners.get(owner.key);
      const held = had?.addresses ?? [];
      const more = addresses.filter((address) => !held.includes(address));
      if (!adopt({ ...(had ?? owner), addresses: more })) return false;
      owners.set(owner.key, { ...(had ?? owner), addresses: [...held, ...more].toSorted(fourFirst) });
      changed();
      await save();
      return true;
    },
    adopt(claims) {
      const refused: { key: string; address: string }[] = [];
      for (const { owner, addresses } of claims) {
        if (owners.has(owner.key)) continue;
        const had = addresses.filter((address) => blocks.find(address)?.claim(address));
        owners.set(owner.key, { ...owner, addresses: had.toSorted(fourFirst) });
        for (const address of addresses)
          if (!had.includes(address)) refused.push({ key: owner.key, address });
      }
      changed();
      return { refused, saved: claims.length === 0 ? Promise.resolve() : save() };
    },
    covers: (address) => blocks.find(address) !== undefined,
    usage: () => blocks.usage(clock.now()),
    setPools(next) {
      pools = next;
      blocks.set(next, clock.now());
      grown.resolve();
      grown = Promise.withResolvers();
      save().catch((error: unknown) =>
        log.warn('the blocks of pools are not on disk', { error: String(error) }),
      );
    },
    setReserved(cidrs) {
      blocks.setReserved(cidrs);
      changed();
    },
    needs() {
      const now = clock.now();
      for (const [key, { until }] of wanting) if (until <= now) wanting.delete(key);
      return blocks.groups().map(({ pool, family, blocks: own }) => {
        // Reserved ones too: whoever gives blocks counts these as if pods could have them.
        const used = own.reduce((sum, block) => sum + block.used(now), 0);
        const waiting = [...wanting.values()].filter(({ groups }) =>
          groups.some((group) => group.pool === pool && group.family === family),
        );
        return { pool, family, addresses: used + waiting.length };
      });
    },
    grows: (pool) => blocks.of(pool)?.some((group) => group.grows) ?? false,
    unused: (pool) => blocks.unused(pool, clock.now()),
    kept: () => everyBlock().flatMap((block) => block.kept(clock.now())),
    cooling() {
      const waiting = new Set(
        everyBlock().flatMap((block) => block.kept(clock.now()).map(({ address }) => address)),
      );
      return everyBlock()
        .flatMap((block) => block.cooling())
        .filter(({ address }) => !waiting.has(address));
    },
    onChange: (listener) => void listeners.push(listener),
  };
}

const fourFirst = (a: string, b: string): number => Number(a.includes(':')) - Number(b.includes(':'));

/** @throws HeddleError `AddressOutside` */
function wishedAddresses({ addresses = [] }: Wish, usable: readonly Pool[]): Map<Family, string> {
  const wished = new Map<Family, string>();
  for (const address of addresses) {
    const family = address.includes(':') ? 6 : 4;
    const other = wished.get(family);
    if (!usable.some((block) => block.covers(address))) throw outside(address, usable);
    if (other !== undefined) throw twice(address, other);
    wished.set(family, address);
  }
  return wished;
}

/** @throws HeddleError `AddressOutside` */
function checkSpan(span: Span, usable: readonly Pool[]): void {
  const inside = (cidr: string) =>
    [span.first, span.last].every((address) => contains(parseCidr(cidr), parseAddress(address)));
  if (!usable.some(({ cidr }) => inside(cidr))) throw spanOutside(span, usable);
}
