/**
 * Addresses and node ports of Services, given out inside create and update. The truth is the store: what is
 * taken is read from it at start and follows its events; between a claim and its commit the claim is held
 * here. All in one thread and without a pause, so no two requests can be given the same.
 */
import { randomInt } from 'node:crypto';
import { duplicate, invalid } from '../api/field-error.ts';
import { SERVICE } from '../api/kinds.ts';
import type { FieldError } from '../api/resource.ts';
import type { Service } from '../api/types.ts';
import {
  bits,
  type Cidr,
  canonicalAddress,
  contains,
  formatAddress,
  formatCidr,
  nth,
  parseCidr,
  tryParseAddress,
} from '../lib/ip.ts';
import type { Entry, Store } from '../store/types.ts';
import { objectOf, prefixOf } from './objects.ts';

export interface ServiceAddresses {
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

export const NODE_PORTS = { first: 30_000, last: 32_767 } as const;
type FamilyName = 'IPv4' | 'IPv6';
type Policy = 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';

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
  const close = store.watch(prefix, store.revision(), (events) => {
    for (const { before, now, key } of events) follow(before, now, key);
  });

  return {
    close,
    counts() {
      const nodePorts = [...holders.keys()].filter((held) => held.includes('/')).length;
      return { nodePorts, addresses: holders.size - nodePorts };
    },
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
        ...claimAddresses(service, pools, { take, reserved }),
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
  return [...addresses.map(canonicalAddress), ...ports];
}

interface Pool {
  readonly family: FamilyName;
  readonly cidr: Cidr;
  /** A free address, or undefined when none is left. */
  pick(take: (address: string) => boolean): string | undefined;
}

function createPool(cidr: Cidr): Pool {
  const hostBits = BigInt(bits(cidr.family) - cidr.length);
  const size = 1n << hostBits;
  // First and (IPv4) last are no host's; more than 2^32 addresses are never searched.
  const last = size - (cidr.family === 4 ? 2n : 1n);
  const count = Number(last < 1n << 32n ? last : 1n << 32n);
  // As Kubernetes: the low end is left to those who ask for an address by its number, until the rest is full.
  const low = Math.min(Math.max(16, Math.floor(count / 16)), 256, count);
  return {
    family: `IPv${cidr.family}`,
    cidr,
    pick(take) {
      const search = (from: number, length: number) => {
        const start = length > 0 ? randomInt(length) : 0;
        for (let i = 0; i < length; i++) {
          const address = nth(cidr, BigInt(1 + from + ((start + i) % length)));
          const text = address && formatAddress(address);
          if (text && take(text)) return text;
        }
        return undefined;
      };
      return search(low, count - low) ?? search(0, low);
    },
  };
}

interface Taking {
  take(held: string): boolean;
  readonly reserved: ReadonlySet<string>;
}

function claimAddresses(service: Service, pools: readonly Pool[], taking: Taking): FieldError[] {
  const spec = (service.spec ??= {});
  if (spec.type === 'ExternalName') return [];
  const headless = spec.clusterIP === 'None';
  const asked = headless ? [] : (spec.clusterIPs ?? []).filter((text) => text !== '').map(canonicalAddress);
  const chosen = chooseFamilies(spec, asked, pools);
  if ('errors' in chosen) return chosen.errors;
  spec.ipFamilies = chosen.families;
  spec.ipFamilyPolicy = chosen.policy;
  if (headless) {
    spec.clusterIPs = ['None'];
    return [];
  }
  const result: string[] = [];
  for (const family of chosen.families) {
    const pool = pools.find((one) => one.family === family)!;
    const wanted = asked.find((text) => familyOf(text) === family);
    const words = wanted === undefined ? undefined : refusal(wanted, pool, taking);
    if (words !== undefined)
      return [invalid('spec.clusterIPs', spec.clusterIPs, `failed to allocate IP ${wanted}: ${words}`)];
    const address = wanted ?? pool.pick((text) => !taking.reserved.has(text) && taking.take(text));
    if (address === undefined)
      return [
        invalid(
          'spec.clusterIPs',
          spec.clusterIPs ?? [],
          `failed to allocate a serviceIP: range ${formatCidr(pool.cidr)} is full`,
        ),
      ];
    result.push(address);
  }
  spec.clusterIPs = result;
  spec.clusterIP = result[0];
  return [];
}

const familyOf = (text: string): FamilyName | undefined => {
  const address = tryParseAddress(text);
  return address && `IPv${address.family}`;
};

function refusal(wanted: string, pool: Pool, { take }: Taking): string | undefined {
  const address = tryParseAddress(wanted);
  if (!address || !contains(pool.cidr, address))
    return `the provided IP (${wanted}) is not in the valid range. The range of valid IPs is ${formatCidr(pool.cidr)}`;
  return take(wanted) ? undefined : 'provided IP is already allocated';
}

type Chosen =
  | { readonly families: FamilyName[]; readonly policy: Policy }
  | { readonly errors: FieldError[] };

/** Without a policy a Service gets both families, unless it names one: see README.md. */
function chooseFamilies(
  spec: NonNullable<Service['spec']>,
  asked: readonly string[],
  pools: readonly Pool[],
): Chosen {
  const available = pools.map(({ family }) => family);
  const named = (spec.ipFamilies ?? []) as FamilyName[];
  for (const [i, family] of named.entries())
    if (!available.includes(family))
      return {
        errors: [invalid(`spec.ipFamilies[${i}]`, family, 'not configured on this cluster')],
      };
  const first = [...named, ...asked.map(familyOf).filter((family) => family !== undefined)];
  const all = [...new Set([...first, ...available])].filter((family) => available.includes(family));
  const policy: Policy =
    spec.ipFamilyPolicy ??
    (named.length === 2 || asked.length === 2
      ? 'RequireDualStack'
      : named.length === 1 || available.length === 1
        ? 'SingleStack'
        : 'PreferDualStack');
  if (policy === 'RequireDualStack' && all.length < 2)
    return {
      errors: [
        invalid('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services'),
      ],
    };
  return { families: policy === 'SingleStack' ? all.slice(0, 1) : all, policy };
}

function claimNodePorts(service: Service, take: (held: string) => boolean): FieldError[] {
  const { spec } = service;
  const exposed = spec?.type === 'NodePort' || spec?.type === 'LoadBalancer';
  if (!spec || !exposed) return [];
  const { first, last } = NODE_PORTS;
  for (const [i, port] of (spec.ports ?? []).entries()) {
    const path = `spec.ports[${i}].nodePort`;
    if (!port.nodePort) continue;
    if (port.nodePort < first || port.nodePort > last)
      return [
        invalid(
          path,
          port.nodePort,
          `provided port is not in the valid range. The range of valid ports is ${first}-${last}`,
        ),
      ];
    if (!take(`${port.protocol ?? 'TCP'}/${port.nodePort}`))
      return [invalid(path, port.nodePort, 'provided port is already allocated')];
  }
  if (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts === false) return [];
  for (const port of spec.ports ?? []) {
    if (port.nodePort) continue;
    const count = last - first + 1;
    const start = randomInt(count);
    for (let i = 0; i < count && !port.nodePort; i++) {
      const number = first + ((start + i) % count);
      if (take(`${port.protocol ?? 'TCP'}/${number}`)) port.nodePort = number;
    }
    if (!port.nodePort) return [duplicate('spec.ports', 'no node port is free')];
  }
  return [];
}

/**
 * Before validation of an update: what the client left out of what was given to it is kept, and what the new
 * type has no use for, and the client did not change, is dropped.
 */
export function inheritAllocations(service: Service, before: Service): void {
  const spec = (service.spec ??= {});
  const old = before.spec ?? {};
  const needs = spec.type !== 'ExternalName';
  if (needs && old.type !== 'ExternalName') {
    if (!spec.clusterIP && !spec.clusterIPs?.length) {
      spec.clusterIP = old.clusterIP;
      spec.clusterIPs = old.clusterIPs;
    }
    spec.ipFamilies ??= old.ipFamilies;
    spec.ipFamilyPolicy ??= old.ipFamilyPolicy;
    // Asked down to one family: the second address goes with it.
    if (spec.ipFamilyPolicy === 'SingleStack' && old.ipFamilyPolicy !== 'SingleStack') {
      spec.clusterIPs = spec.clusterIPs?.slice(0, 1);
      spec.ipFamilies = spec.ipFamilies?.slice(0, 1);
    }
  }
  if (!needs && spec.clusterIP === old.clusterIP) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
  }
  inheritNodePorts(spec, old);
  dropUnused(spec, old);
}

/** Fields that the new type has no use for, unless the client set them anew: then validation says so. */
function dropUnused(spec: NonNullable<Service['spec']>, old: NonNullable<Service['spec']>): void {
  const balanced = spec.type === 'LoadBalancer';
  const exposed = balanced || spec.type === 'NodePort' || (spec.externalIPs?.length ?? 0) > 0;
  if (!exposed && spec.externalTrafficPolicy === old.externalTrafficPolicy) delete spec.externalTrafficPolicy;
  if (balanced) return;
  if (spec.allocateLoadBalancerNodePorts === old.allocateLoadBalancerNodePorts)
    delete spec.allocateLoadBalancerNodePorts;
  if (spec.healthCheckNodePort === old.healthCheckNodePort) delete spec.healthCheckNodePort;
  if (spec.loadBalancerClass === old.loadBalancerClass) delete spec.loadBalancerClass;
}

function inheritNodePorts(spec: NonNullable<Service['spec']>, old: NonNullable<Service['spec']>): void {
  const exposed = (type: string | undefined) => type === 'NodePort' || type === 'LoadBalancer';
  const key = (port: { protocol?: string; port: number }) => `${port.protocol ?? 'TCP'}/${port.port}`;
  const held = new Map((old.ports ?? []).map((port) => [key(port), port.nodePort]));
  const named = new Set((spec.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) {
    const was = held.get(key(port));
    if (exposed(spec.type) && !port.nodePort && was && !named.has(was)) port.nodePort = was;
    if (!exposed(spec.type) && port.nodePort === was) delete port.nodePort;
  }
}
