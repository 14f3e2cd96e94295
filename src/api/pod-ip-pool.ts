/** Pools of addresses for pods, and what a node holds of them, as Cilium's multi-pool mode writes them. */
import { bits, type Cidr, type Family, overlaps, tryParseCidr } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import type { CiliumNode, CiliumPodIpPool, PodIpPoolFamily, PoolRequest } from './ipam-types.ts';
import { CILIUM_NODE, CILIUM_POD_IP_POOL } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';

const CIDR_WORDS = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
/** A block of more addresses is more than a node can use; a pool of more blocks more than can be looked through. */
const MOST_BLOCK_BITS = 24;

const FAMILIES = [
  ['ipv4', 4],
  ['ipv6', 6],
] as const;

function* validateFamily(part: PodIpPoolFamily, family: Family, at: string): Problems {
  const cidrs = part.cidrs ?? [];
  if (cidrs.length === 0) yield required(`${at}.cidrs`);
  const { maskSize } = part;
  const most = bits(family);
  if (maskSize === undefined) yield required(`${at}.maskSize`);
  else if (!Number.isInteger(maskSize) || maskSize < 1 || maskSize > most)
    yield invalid(`${at}.maskSize`, maskSize, `must be between 1 and ${most}, inclusive`);
  const good: [string, Cidr][] = [];
  for (const [i, cidr] of cidrs.entries()) {
    const path = `${at}.cidrs[${i}]`;
    const parsed = tryParseCidr(cidr);
    if (!parsed) yield invalid(path, cidr, CIDR_WORDS);
    else if (parsed.family !== family) yield invalid(path, cidr, `must be of IPv${family}`);
    else {
      if (maskSize !== undefined && parsed.length > maskSize)
        yield invalid(path, cidr, `must have room for a block of /${maskSize}`);
      if (maskSize !== undefined && maskSize - parsed.length > MOST_BLOCK_BITS)
        yield invalid(path, cidr, `must not hold more than 2^${MOST_BLOCK_BITS} blocks of /${maskSize}`);
      const other = good.find(([, each]) => overlaps(each, parsed));
      if (other) yield invalid(path, cidr, `must not overlap ${other[0]}`);
      good.push([cidr, parsed]);
    }
  }
}

function* validate({ spec }: CiliumPodIpPool): Problems {
  if (!spec) {
    yield required('spec');
    return;
  }
  if (!spec.ipv4 && !spec.ipv6) yield required('spec', 'must have `ipv4`, `ipv6` or both');
  for (const [name, family] of FAMILIES) {
    const part = spec[name];
    if (part) yield* validateFamily(part, family, `spec.${name}`);
  }
  yield* validateLabelSelector(spec.podSelector, 'spec.podSelector');
  yield* validateLabelSelector(spec.namespaceSelector, 'spec.namespaceSelector');
}

/** Blocks of it are in use: their size stays, and ranges may be added alone. */
function* validateUpdate(now: CiliumPodIpPool, before: CiliumPodIpPool): Problems {
  for (const [name] of FAMILIES) {
    const [next, had] = [now.spec?.[name], before.spec?.[name]];
    if (!had) continue;
    if (next?.maskSize !== had.maskSize)
      yield invalid(`spec.${name}.maskSize`, next?.maskSize, 'field is immutable');
    for (const cidr of had.cidrs ?? [])
      if (!next?.cidrs?.includes(cidr))
        yield forbidden(`spec.${name}.cidrs`, `${cidr} cannot be removed: ranges may be added only`);
  }
}

/** All ranges of a pool that can be read. */
export const poolRanges = ({ spec }: CiliumPodIpPool): string[] =>
  FAMILIES.flatMap(([name]) => (spec?.[name]?.cidrs ?? []).filter((cidr) => tryParseCidr(cidr)));

/** The first range that `pool` shares with one of `others`, and with which. */
export function poolOverlap(
  pool: CiliumPodIpPool,
  others: readonly CiliumPodIpPool[],
): { cidr: string; other: string; pool: string } | undefined {
  const own = poolRanges(pool).map((cidr) => ({ cidr, parsed: tryParseCidr(cidr) }));
  for (const each of others) {
    if (each.metadata.name === pool.metadata.name) continue;
    for (const other of poolRanges(each)) {
      const parsed = tryParseCidr(other);
      const hit = own.find((one) => parsed && one.parsed && overlaps(one.parsed, parsed));
      if (hit) return { cidr: hit.cidr, other, pool: each.metadata.name };
    }
  }
  return undefined;
}

const rangesText = (part: PodIpPoolFamily | undefined): string =>
  part ? `${(part.cidrs ?? []).join(',')} by /${part.maskSize}` : '';

export const ciliumPodIpPool = define<CiliumPodIpPool>({
  kind: CILIUM_POD_IP_POOL,
  singular: 'ciliumpodippool',
  shortNames: ['cpip'],
  categories: ['cilium'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('IPv4', 'Ranges, and how long the prefix of a block is.', ({ spec }) => rangesText(spec?.ipv4)),
    text('IPv6', 'Ranges, and how long the prefix of a block is.', ({ spec }) => rangesText(spec?.ipv6)),
    ageColumn,
  ],
  validate,
  validateUpdate,
});

function* validateCidrs(cidrs: readonly string[], at: string): Problems {
  for (const [i, cidr] of cidrs.entries())
    if (!tryParseCidr(cidr)) yield invalid(`${at}[${i}]`, cidr, CIDR_WORDS);
}

function* validateRequest({ pool, needed = {} }: PoolRequest, at: string): Problems {
  if (!pool) yield required(`${at}.pool`);
  for (const [name, count] of Object.entries(needed))
    if (!Number.isInteger(count) || count < 0)
      yield invalid(`${at}.needed.${name}`, count, 'must be greater than or equal to 0');
}

function* validateNode({ spec }: CiliumNode): Problems {
  const { podCIDRs = [], pools } = spec?.ipam ?? {};
  yield* validateCidrs(podCIDRs, 'spec.ipam.podCIDRs');
  for (const [i, request] of (pools?.requested ?? []).entries())
    yield* validateRequest(request, `spec.ipam.pools.requested[${i}]`);
  for (const [i, { pool, cidrs = [] }] of (pools?.allocated ?? []).entries()) {
    const at = `spec.ipam.pools.allocated[${i}]`;
    if (!pool) yield required(`${at}.pool`);
    yield* validateCidrs(cidrs, `${at}.cidrs`);
  }
}

export const ciliumNode = define<CiliumNode>({
  kind: CILIUM_NODE,
  singular: 'ciliumnode',
  shortNames: ['cn', 'ciliumn'],
  categories: ['cilium'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Blocks', 'Blocks that it has beside its first ones.', ({ spec }) =>
      (spec?.ipam?.pools?.allocated ?? []).flatMap(({ cidrs = [] }) => cidrs).join(','),
    ),
    ageColumn,
  ],
  validate: validateNode,
});
