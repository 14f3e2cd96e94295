/** Addresses of a node's pods: one of each family per attachment, remembered across restarts. */
import { type Clock, systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { createStateFile } from '../lib/state-file.ts';
import { createPool, type Pool } from './pool.ts';

export interface Owner {
  /** Unique per attachment: container id and interface name. */
  key: string;
  /** For people: `namespace/name`. */
  label: string;
}

export interface Allocation extends Owner {
  /** One per pool, in the pools' order. */
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
  /** On disk when it resolves; the same owner gets the same again. @throws HeddleError `AddressesExhausted` */
  allocate(owner: Owner): Promise<Allocation>;
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
  const file = createStateFile<Saved>(options.path);
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

  /** False when an address is another's or of no pool; then nothing is taken. */
  function adopt(allocation: Allocation): boolean {
    const claimed: [Pool, string][] = [];
    for (const [i, pool] of pools.entries()) {
      const address = allocation.addresses[i];
      if (address !== undefined && pool.claim(address)) {
        claimed.push([pool, address]);
        continue;
      }
      for (const [owner, held] of claimed) owner.release(held, clock.now());
      return false;
    }
    owners.set(allocation.key, { ...allocation });
    return true;
  }

  function take(owner: Owner): Allocation {
    const addresses: string[] = [];
    for (const pool of pools) {
      const address = pool.take(clock.now());
      if (address !== undefined) {
        addresses.push(address);
        continue;
      }
      for (const [i, held] of addresses.entries()) pools[i]!.release(held, clock.now());
      throw exhausted(pool, [...owners.values()]);
    }
    return { key: owner.key, label: owner.label, addresses };
  }

  function drop(key: string): boolean {
    const held = owners.get(key);
    if (!held) return false;
    owners.delete(key);
    for (const [i, address] of held.addresses.entries()) pools[i]?.release(address, clock.now());
    return true;
  }

  restore(
    await file.load().catch((error: unknown) => {
      log.warn('address book set aside; it is rebuilt from live pods', { error: String(error) });
      return undefined;
    }),
  );

  return {
    async allocate(owner) {
      let held = owners.get(owner.key);
      if (!held) {
        held = take(owner);
        owners.set(owner.key, held);
      }
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

function exhausted(pool: Pool, owners: readonly Allocation[]): HeddleError {
  const byWorkload = new Map<string, number>();
  for (const { label } of owners) {
    // A pod of a ReplicaSet is named after it: two generated parts at the end.
    const workload = label.replace(/(-[a-z0-9]{5,10})?-[a-z0-9]{5}$/, '');
    byWorkload.set(workload, (byWorkload.get(workload) ?? 0) + 1);
  }
  const biggest = [...byWorkload].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).slice(0, 3);
  const users = biggest.map(([name, count]) => `${name} (${count})`).join(', ');
  return new HeddleError(
    'AddressesExhausted',
    `no address left in ${pool.cidr}: all ${pool.size} are taken, most by ${users || 'nobody known'}`,
    { hint: 'run fewer pods on this node, add nodes, or start the cluster with a larger pod range' },
  );
}
