/** Cluster IPs: which families a Service gets, and an address of each. */
import { randomInt } from 'node:crypto';
import { invalid } from '../api/field-error.ts';
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
  tryParseAddress,
} from '../lib/ip.ts';

type FamilyName = 'IPv4' | 'IPv6';
type Policy = 'SingleStack' | 'PreferDualStack' | 'RequireDualStack';

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
  readonly reserved: ReadonlySet<string>;
}

export function claimAddresses(service: Service, pools: readonly Pool[], taking: Taking): FieldError[] {
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
