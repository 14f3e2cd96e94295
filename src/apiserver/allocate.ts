/**
 * Addresses and node ports of Services, given out inside create and update. The truth is the store: what is
 * taken is read from it at start and follows its events; between a claim and its commit the claim is held
 * here. All in one thread and without a pause, so no two requests can be given the same.
 */
import { SERVICE } from '../api/kinds.ts';
import type { FieldError } from '../api/resource.ts';
import type { Service } from '../api/types.ts';
import { canonicalAddress, parseCidr } from '../lib/ip.ts';
import type { Entry, Store } from '../store/types.ts';
import { claimAddresses, createPool } from './allocate-addresses.ts';
import { claimNodePorts } from './allocate-node-ports.ts';
import { objectOf, prefixOf } from './objects.ts';
import { settleFamilies } from './service-families.ts';

export interface ServiceAddresses {
  /** Fills in policy and families in place, before validation. `before`: of an update. */
  settle(service: Service, before?: Service): FieldError[];
  /**
   * Fills in `spec` of a validated Service in place. `before`: what it holds already, on update. The result
   * undoes the claims, for when the write fails.
   */
  claim(key: string, service: Service, before?: Service): { errors: FieldError[]; release(): void };
  /** Numbers for metrics. */
  counts(): { addresses: number; nodePorts: number };
  close(): void;
}

export interface AllocationRanges {
  /** One or two ranges of different families; the first is the default family. */
  readonly serviceCidrs: readonly string[];
  /** Never given out unasked: the cluster's DNS and the API server itself. */
  readonly reserved: readonly string[];
}

export function createServiceAddresses(store: Store, ranges: AllocationRanges): ServiceAddresses {
  const pools = ranges.serviceCidrs.map((text) => createPool(parseCidr(text)));
  const reserved = new Set(ranges.reserved.map(canonicalAddress));
  /** Address, or `TCP/30080`, to the key of the Service that holds it. */
  const holders = new Map<string, string>();

  const follow = (before: Entry | undefined, now: Entry | undefined, key: string) => {
    for (const held of before ? heldBy(objectOf(before) as Service) : [])
      if (holders.get(held) === key) holders.delete(held);
    for (const held of now ? heldBy(objectOf(now) as Service) : []) holders.set(held, key);
  };
  const prefix = prefixOf(SERVICE);
  for (const entry of store.list(prefix).items) follow(undefined, entry, entry.key);
  const families = pools.map(({ family }) => family);
  const close = store.watch(prefix, store.revision(), (events) => {
    for (const { before, now, key } of events) follow(before, now, key);
  });

  return {
    close,
    counts() {
      const nodePorts = [...holders.keys()].filter((held) => held.includes('/')).length;
      return { nodePorts, addresses: holders.size - nodePorts };
    },
    settle: (service, before) => settleFamilies((service.spec ??= {}), before?.spec, families),
    claim(key, service, before) {
      const kept = new Set(before ? heldBy(before) : []);
      const claimed: string[] = [];
      const take = (held: string): boolean => {
        if (kept.has(held) && holders.get(held) === key) return true;
        if (holders.has(held)) return false;
        holders.set(held, key);
        claimed.push(held);
        return true;
      };
      const release = () => {
        for (const held of claimed) if (holders.get(held) === key) holders.delete(held);
      };
      const errors = [
        ...claimAddresses(service, pools, { take, kept, reserved }),
        ...claimNodePorts(service, take),
      ];
      if (errors.length > 0) release();
      return { errors, release };
    },
  };
}

function heldBy({ spec }: Service): string[] {
  const addresses = (spec?.clusterIPs ?? []).filter((text) => text !== 'None' && text !== '');
  const ports = (spec?.ports ?? []).flatMap(({ protocol, nodePort }) =>
    nodePort ? [`${protocol ?? 'TCP'}/${nodePort}`] : [],
  );
  const check = spec?.healthCheckNodePort ? [`TCP/${spec.healthCheckNodePort}`] : [];
  return [...addresses.map(canonicalAddress), ...ports, ...check];
}
