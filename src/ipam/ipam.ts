/** Addresses of a node's pods: one of each family per attachment, remembered across restarts. */
import { type Clock, systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { contains, parseAddress, parseCidr } from '../lib/ip.ts';
import type { Log } from '../lib/log.ts';
import { createStateFile } from '../lib/state-file.ts';
import { createPool, type Pool, type Span } from './pool.ts';

export interface Owner {
  /** Unique per attachment: container id and interface name. */
  key: string;
  /** For people: `namespace/name`. */
  label: string;
  /** Whatever else must be known to undo what the owner is given; plain JSON. */
  details?: unknown;
}

/** What an owner asks for beside one address of each pool. */
export interface Wish {
  /** These and no others, at most one of a pool; the other pools give one as ever. */
  addresses?: readonly string[];
  /** Addresses of these only. Pools of which it has none give none. */
  within?: readonly Span[];
  /** No address at all. */
  none?: boolean;
}

export interface Allocation extends Owner {
  /** One per pool at most, in the pools' order. */
  addresses: string[];
}

export interface IpamOptions {
  /** A node's pod ranges, one per family. */
  cidrs: readonly string[];
  reserved?: readonly string[];
  /** JSON file of what is taken. */
  path: string;
  /** Milliseconds a released address rests while others are free. Default 60,000. */
  coolingMs?: number;
  clock?: Clock;
  log: Log;
}

export interface Ipam {
  /**
   * On disk when it resolves; the same owner gets the same again, unless it wishes others.
   * @throws HeddleError `AddressesExhausted`, `AddressTaken`, `AddressOutside`
   */
  allocate(owner: Owner, wish?: Wish): Promise<Allocation>;
  /** Gives back what `key` holds; nothing happens when it holds nothing. */
  release(key: string): Promise<void>;
  get(key: string): Allocation | undefined;
  list(): Allocation[];
  /**
   * Makes the books agree with what is really there: `live` is kept or taken back in, everything else released.
   * Addresses of `live` that two claim stay with the first; the others are returned.
   */
  repair(live: readonly Allocation[]): Promise<Allocation[]>;
  usage(): { cidr: string; taken: number; size: number }[];
}

interface Saved {
  version: 1;
  allocations: Allocation[];
  cooling: { address: string; since: number }[];
}

/** @throws HeddleError `BadCidr`; a state file that is damaged is set aside with a warning. */
export async function createIpam(options: IpamOptions): Promise<Ipam> {
  const { clock = systemClock, log } = options;
  const pools = options.cidrs.map((cidr) =>
    createPool({ cidr, reserved: options.reserved, coolingMs: options.coolingMs ?? 60_000 }),
  );
  const file = createStateFile<Saved>(options.path, { synced: false });
  const owners = new Map<string, Allocation>();

  const snapshot = (): Saved => ({
    version: 1,
    allocations: [...owners.values()],
    cooling: pools.flatMap((pool) => pool.cooling()),
  });
  const save = () => file.save(snapshot);

  function restore(saved: Saved | undefined): void {
    for (const allocation of saved?.allocations ?? []) adopt(allocation);
    for (const { address, since } of saved?.cooling ?? [])
      pools.find((pool) => pool.covers(address))?.restoreCooling(address, since);
  }

  const poolOf = (address: string): Pool | undefined => pools.find((pool) => pool.covers(address));

  /** False when an address is another's or of no pool; then nothing is taken. */
  function adopt(allocation: Allocation): boolean {
    const claimed: [Pool, string][] = [];
    for (const address of allocation.addresses) {
      const pool = poolOf(address);
      if (pool?.claim(address)) {
        claimed.push([pool, address]);
        continue;
      }
      for (const [owner, held] of claimed) owner.release(held, clock.now());
      return false;
    }
    owners.set(allocation.key, { ...allocation });
    return true;
  }

  function take(owner: Owner, wish: Wish): Allocation {
    const held: [Pool, string][] = [];
    const wished = wishedAddresses(wish, pools);
    for (const span of wish.within ?? []) checkSpan(span, pools);
    try {
      for (const pool of wish.none ? [] : pools) {
        const address = takeFrom(pool, wished.get(pool), wish);
        if (address !== undefined) held.push([pool, address]);
      }
    } catch (error) {
      for (const [pool, address] of held) pool.release(address, clock.now());
      throw error;
    }
    return { ...owner, addresses: held.map(([, address]) => address) };
  }

  function takeFrom(pool: Pool, wished: string | undefined, { within }: Wish): string | undefined {
    if (wished !== undefined) {
      if (pool.claim(wished)) return wished;
      throw takenError(wished, [...owners.values()]);
    }
    const spans = within?.filter(({ first }) => sameFamily(first, pool.cidr));
    if (spans?.length === 0) return undefined;
    const address = pool.take(clock.now(), spans);
    if (address === undefined) throw exhausted(pool, [...owners.values()], spans);
    return address;
  }

  function drop(key: string): boolean {
    const held = owners.get(key);
    if (!held) return false;
    owners.delete(key);
    for (const address of held.addresses) poolOf(address)?.release(address, clock.now());
    return true;
  }

  restore(
    await file.load().catch((error: unknown) => {
      log.warn('address book set aside; it is rebuilt from live pods', { error: String(error) });
      return undefined;
    }),
  );

  return {
    async allocate(owner, wish = {}) {
      let held = owners.get(owner.key);
      if (held && wish.addresses?.some((address) => !held?.addresses.includes(address))) {
        drop(owner.key);
        held = undefined;
      }
      held = held ? { ...owner, addresses: held.addresses } : take(owner, wish);
      owners.set(owner.key, held);
      try {
        await save();
      } catch (error) {
        drop(owner.key);
        throw error;
      }
      return held;
    },
    async release(key) {
      if (drop(key)) await save();
    },
    get: (key) => owners.get(key),
    list: () => [...owners.values()],
    async repair(live) {
      const keys = new Set(live.map(({ key }) => key));
      for (const key of owners.keys()) if (!keys.has(key)) drop(key);
      const refused = live.filter((one) => {
        const held = owners.get(one.key);
        if (held && held.addresses.join() === one.addresses.join()) return false;
        drop(one.key);
        return !adopt(one);
      });
      await save();
      return refused;
    },
    usage: () => pools.map(({ cidr, taken, size }) => ({ cidr, taken, size })),
  };
}

const sameFamily = (address: string, cidr: string): boolean => address.includes(':') === cidr.includes(':');

/** @throws HeddleError `AddressOutside` */
function wishedAddresses({ addresses = [] }: Wish, pools: readonly Pool[]): Map<Pool, string> {
  const wished = new Map<Pool, string>();
  for (const address of addresses) {
    const pool = pools.find((each) => each.covers(address));
    const other = pool && wished.get(pool);
    if (pool && other === undefined) wished.set(pool, address);
    else
      throw new HeddleError(
        'AddressOutside',
        other === undefined
          ? `the address ${address} is none that can be given: expected one of ${pools.map(({ cidr }) => cidr).join(', ')}`
          : `the addresses ${other} and ${address} are of one family: expected one at most`,
        {
          hint: 'the first two addresses of a range, the last of an IPv4 one and reserved ones are never given',
        },
      );
  }
  return wished;
}

/** @throws HeddleError `AddressOutside` */
function checkSpan({ first, last }: Span, pools: readonly Pool[]): void {
  const inside = (cidr: string) =>
    [first, last].every((address) => contains(parseCidr(cidr), parseAddress(address)));
  if (pools.some(({ cidr }) => inside(cidr))) return;
  throw new HeddleError(
    'AddressOutside',
    `the range ${first} to ${last} is not inside of ${pools.map(({ cidr }) => cidr).join(' or ')}`,
    { hint: 'ranges that are asked for must be parts of those that are configured' },
  );
}

function takenError(address: string, owners: readonly Allocation[]): HeddleError {
  const owner = owners.find(({ addresses }) => addresses.includes(address));
  return new HeddleError('AddressTaken', `the address ${address} belongs to ${owner?.label ?? 'another'}`, {
    hint: 'choose another, or end what has it',
  });
}

function exhausted(pool: Pool, owners: readonly Allocation[], spans?: readonly Span[]): HeddleError {
  const byWorkload = new Map<string, number>();
  for (const { label } of owners) {
    // A pod of a ReplicaSet is named after it: two generated parts at the end.
    const workload = label.replace(/(-[a-z0-9]{5,10})?-[a-z0-9]{5}$/, '');
    byWorkload.set(workload, (byWorkload.get(workload) ?? 0) + 1);
  }
  const biggest = [...byWorkload].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, 3);
  const users = biggest.map(([name, count]) => `${name} (${count})`).join(', ');
  const where = spans?.map(({ first, last }) => `${first} to ${last}`).join(', ');
  if (where !== undefined)
    return new HeddleError('AddressesExhausted', `no address left in ${where} of ${pool.cidr}`, {
      hint: 'ask for a wider range',
    });
  return new HeddleError(
    'AddressesExhausted',
    `no address left in ${pool.cidr}: all ${pool.size} are taken, most by ${users || 'nobody known'}`,
    { hint: 'run fewer pods on this node, add nodes, or start the cluster with a larger pod range' },
  );
}
