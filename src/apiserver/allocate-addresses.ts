/** Cluster IPs: an address of each family that a Service has. */
import { randomInt } from 'node:crypto';
import { invalid } from '../api/field-error.ts';
import type { FieldError } from '../api/resource.ts';
import { isHeadless } from '../api/service-addresses.ts';
import type { Service } from '../api/types.ts';
import {
  bits,
  type Cidr,
  canonicalAddress,
  contains,
  formatAddress,
  formatCidr,
  nth,
  tryParseAddress,
} from '../lib/ip.ts';
import { type FamilyName, familyOf } from './service-families.ts';

export interface Pool {
  readonly family: FamilyName;
  readonly cidr: Cidr;
  /** A free address, or undefined when none is left. */
  pick(take: (address: string) => boolean): string | undefined;
}

export function createPool(cidr: Cidr): Pool {
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
  /** What the Service has already: nobody asks again whether it may. */
  readonly kept: ReadonlySet<string>;
  readonly reserved: ReadonlySet<string>;
}

/** An address of each family in `ipFamilies`: kept, as asked for, or drawn. */
export function claimAddresses({ spec }: Service, pools: readonly Pool[], taking: Taking): FieldError[] {
  if (!spec || spec.type === 'ExternalName') return [];
  if (isHeadless(spec)) {
    spec.clusterIPs = ['None'];
    return [];
  }
  const asked = (spec.clusterIPs ?? []).filter((text) => text !== '').map(canonicalAddress);
  const result: string[] = [];
  for (const family of spec.ipFamilies ?? []) {
    const wanted = asked.find((text) => familyOf(text) === family);
    const pool = pools.find((one) => one.family === family);
    const words = wanted === undefined ? undefined : refusal(wanted, pool, taking);
    if (words !== undefined)
      return [invalid('spec.clusterIPs', spec.clusterIPs, `failed to allocate IP ${wanted}: ${words}`)];
    const address = wanted ?? pool?.pick((text) => !taking.reserved.has(text) && taking.take(text));
    if (address === undefined) return [noneLeft(spec.clusterIPs, family, pool)];
    result.push(address);
  }
  spec.clusterIPs = result;
  spec.clusterIP = result[0];
  return [];
}

function noneLeft(asked: readonly string[] | undefined, family: string, pool: Pool | undefined): FieldError {
  const why = pool ? `range ${formatCidr(pool.cidr)} is full` : `${family} is not configured on this cluster`;
  return invalid('spec.clusterIPs', asked ?? [], `failed to allocate a serviceIP: ${why}`);
}

function refusal(wanted: string, pool: Pool | undefined, { take, kept }: Taking): string | undefined {
  if (kept.has(wanted)) return undefined;
  const address = tryParseAddress(wanted);
  if (!pool || !address || !contains(pool.cidr, address))
    return `the provided IP (${wanted}) is not in the valid range. The range of valid IPs is ${pool ? formatCidr(pool.cidr) : 'empty'}`;
  return take(wanted) ? undefined : 'provided IP is already allocated';
}
