/** Which addresses a Service of type LoadBalancer gets out of which pools. Pure. */
import { compileSelector } from '../api/selector.ts';
import type { LoadBalancerIpPool, Service } from '../api/types.ts';
import {
  bits,
  canonicalAddress,
  type Family,
  firstOf,
  formatAddress,
  lastOf,
  tryParseAddress,
  tryParseCidr,
} from '../lib/ip.ts';

/** Comma-separated addresses that a Service asks for. */
export const WANTED = 'lbipam.cilium.io/ips';
/** Services of one namespace with the same text, and no port in common, may have one address. */
export const SHARING = 'lbipam.cilium.io/sharing-key';
export const SATISFIED = 'cilium.io/IPAMRequestSatisfied';
/** Who is to tell the network where an address is; without a class both do. */
const ANY: readonly (string | undefined)[] = [undefined, ''];
const BY_NEIGHBOURS: readonly (string | undefined)[] = ['heddle.dev/l2', 'io.cilium/l2-announcer'];
const BY_BGP: readonly (string | undefined)[] = ['heddle.dev/bgp', 'io.cilium/bgp-control-plane'];
const CLASSES = [...ANY, ...BY_NEIGHBOURS, ...BY_BGP];

const SERVICE_NAME = 'io.kubernetes.service.name';
const SERVICE_NAMESPACE = 'io.kubernetes.service.namespace';

export interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

/** Whether addresses are this controller's business: another class is another balancer's. */
export const isBalanced = ({ spec }: Service): boolean =>
  spec?.type === 'LoadBalancer' && CLASSES.includes(spec.loadBalancerClass);

/** Whether one node answers ARP and Neighbour Discovery for its addresses. */
export const isAnsweredFor = (service: Service): boolean =>
  isBalanced(service) && !BY_BGP.includes(service.spec?.loadBalancerClass);

/** Whether its addresses are told by BGP, where an advertisement selects it. */
export const isToldByBgp = (service: Pick<Service, 'spec'>): boolean =>
  [...ANY, ...BY_BGP].includes(service.spec?.loadBalancerClass);

const condition = (service: Service) => service.status?.conditions?.find(({ type }) => type === SATISFIED);

/** Addresses that somebody else wrote are left as they are. */
export const isForeign = (service: Service): boolean =>
  addressesOf(service).length > 0 && condition(service) === undefined;

export const addressesOf = ({ spec, status }: Service): string[] =>
  spec?.type === 'LoadBalancer'
    ? (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []))
    : [];

export function rangesOf({ spec }: LoadBalancerIpPool): Range[] {
  return (spec?.blocks ?? []).flatMap((block) => {
    const cidr = block.cidr ? tryParseCidr(block.cidr) : undefined;
    if (cidr) {
      const inner = spec.allowFirstLastIPs === 'No' && bits(cidr.family) - cidr.length > 1 ? 1n : 0n;
      const [first, last] = [firstOf(cidr).value + inner, lastOf(cidr).value - inner];
      return [{ family: cidr.family, first, last }];
    }
    const first = tryParseAddress(block.start ?? '');
    const last = tryParseAddress(block.stop || block.start || '');
    if (!first || last?.family !== first.family || last.value < first.value) return [];
    return [{ family: first.family, first: first.value, last: last.value }];
  });
}

function selects(pool: LoadBalancerIpPool, { metadata }: Service): boolean {
  const selector = pool.spec?.serviceSelector;
  if (!selector) return true;
  return compileSelector(selector)({
    ...metadata.labels,
    [SERVICE_NAME]: metadata.name,
    [SERVICE_NAMESPACE]: metadata.namespace ?? '',
  });
}

const holds = (range: Range, text: string): boolean => {
  const address = tryParseAddress(text);
  return address?.family === range.family && range.first <= address.value && address.value <= range.last;
};

const poolOf = (pools: readonly LoadBalancerIpPool[], text: string): LoadBalancerIpPool | undefined =>
  pools.find((pool) => rangesOf(pool).some((range) => holds(range, text)));

type Ports = readonly { readonly protocol?: string; readonly port: number }[];

/** Whether two Services may have one address: both say so, and a connection is always only one's. */
export function mayShare(a: Service, b: Service): boolean {
  const key = a.metadata.annotations?.[SHARING];
  if (!key || key !== b.metadata.annotations?.[SHARING]) return false;
  if (a.metadata.namespace !== b.metadata.namespace) return false;
  // One node announces the address: it must be able to serve both.
  if (a.spec?.externalTrafficPolicy === 'Local' || b.spec?.externalTrafficPolicy === 'Local') return false;
  const of = ({ spec }: Service) =>
    new Set(((spec?.ports ?? []) as Ports).map(({ protocol = 'TCP', port }) => `${protocol} ${port}`));
  return of(a).isDisjointFrom(of(b));
}

export interface Situation {
  readonly service: Service;
  /** Sorted by name. */
  readonly pools: readonly LoadBalancerIpPool[];
  /** Services that have an address, this one too. */
  holdersOf(address: string): readonly Service[];
  /** Addresses of Services with this one's sharing key. */
  readonly shared: readonly string[];
}

export interface Outcome {
  readonly addresses: readonly string[];
  readonly satisfied: boolean;
  /** Cilium's words: `satisfied`, `no_pool`, `out_of_ips`, `already_allocated`, `pool_selector_mismatch`. */
  readonly reason: string;
  readonly message: string;
}

export function chooseAddresses(situation: Situation): Outcome {
  const { service } = situation;
  const asked = askedOf(service);
  const open = situation.pools.filter((pool) => selects(pool, service));
  if (asked.length > 0) return chooseAsked(situation, asked, open);
  const families = familiesOf(service);
  const addresses: string[] = [];
  let full: Family | undefined;
  for (const family of families) {
    const kept = addressesOf(service).find((text) => keeps(situation, open, text, family));
    const found = kept ?? free(situation, open, family);
    if (found !== undefined) addresses.push(found);
    else if (open.some((pool) => rangesOf(pool).some((range) => range.family === family))) full ??= family;
  }
  if (full !== undefined)
    return { addresses, ...failed('out_of_ips', `the pools have no free IPv${full} address left`) };
  const all = service.spec?.ipFamilyPolicy === 'RequireDualStack';
  if (addresses.length > 0 && (!all || addresses.length === families.length))
    return { addresses, satisfied: true, reason: 'satisfied', message: '' };
  return { addresses, ...failed('no_pool', 'there are no pools of this family that select this Service') };
}

const failed = (reason: string, message: string) => ({ satisfied: false, reason, message });

function askedOf({ metadata, spec }: Service): string[] {
  const texts = metadata.annotations?.[WANTED] ?? spec?.loadBalancerIP ?? '';
  return texts
    .split(',')
    .map((text) => text.trim())
    .filter((text) => tryParseAddress(text) !== undefined)
    .map(canonicalAddress);
}

const familiesOf = ({ spec }: Service): Family[] =>
  (spec?.ipFamilies ?? ['IPv4']).map((name) => (name === 'IPv6' ? 6 : 4));

function chooseAsked(
  situation: Situation,
  asked: readonly string[],
  open: readonly LoadBalancerIpPool[],
): Outcome {
  const addresses: string[] = [];
  let problem: ReturnType<typeof failed> | undefined;
  for (const text of asked) {
    const pool = poolOf(open, text);
    const elsewhere = poolOf(situation.pools, text);
    if (!pool && elsewhere)
      problem ??= failed(
        'pool_selector_mismatch',
        `${text} is of pool ${elsewhere.metadata.name}, which does not select this Service`,
      );
    else if (!pool) problem ??= failed('no_pool', `${text} is of no pool`);
    else if (pool.spec.disabled && !addressesOf(situation.service).includes(text))
      problem ??= failed('no_pool', `${text} is of pool ${pool.metadata.name}, which is disabled`);
    else if (isTaken(situation, text))
      problem ??= failed('already_allocated', `${text} is another Service's`);
    else addresses.push(text);
  }
  return { addresses, ...(problem ?? { satisfied: true, reason: 'satisfied', message: '' }) };
}

/** Of two that have one address (written before both were known) the older one keeps it. */
const isTaken = ({ service, holdersOf }: Situation, text: string): boolean =>
  holdersOf(text).some(
    (other) =>
      !isSame(other, service) &&
      !mayShare(other, service) &&
      (!addressesOf(service).includes(text) || isOlder(other, service)),
  );

const isSame = (a: Service, b: Service): boolean =>
  a.metadata.name === b.metadata.name && a.metadata.namespace === b.metadata.namespace;

const ageKey = ({ metadata: { creationTimestamp, namespace, name } }: Service): string =>
  `${creationTimestamp ?? ''} ${namespace ?? ''}/${name}`;
const isOlder = (a: Service, b: Service): boolean => ageKey(a) < ageKey(b);

const keeps = (
  situation: Situation,
  open: readonly LoadBalancerIpPool[],
  text: string,
  family: Family,
): boolean =>
  tryParseAddress(text)?.family === family && poolOf(open, text) !== undefined && !isTaken(situation, text);

function free(situation: Situation, open: readonly LoadBalancerIpPool[], family: Family): string | undefined {
  const enabled = open.filter((pool) => !pool.spec.disabled);
  const shared = situation.shared.find((text) => keeps(situation, enabled, text, family));
  if (shared !== undefined) return shared;
  for (const range of enabled.flatMap(rangesOf).filter((each) => each.family === family))
    for (let value = range.first; value <= range.last; value++) {
      const text = formatAddress({ family, value });
      if (situation.holdersOf(text).length === 0) return text;
    }
  return undefined;
}

/** `used` counts addresses that Services have. Ranges of one pool that overlap count once each. */
export function poolCounts(
  pool: LoadBalancerIpPool,
  held: readonly string[],
): { total: bigint; used: number } {
  const ranges = rangesOf(pool);
  return {
    total: ranges.reduce((sum, { first, last }) => sum + last - first + 1n, 0n),
    used: held.filter((text) => ranges.some((range) => holds(range, text))).length,
  };
}

/** The first other pool that has an address in common. */
export function conflictOf(
  pool: LoadBalancerIpPool,
  others: readonly LoadBalancerIpPool[],
): LoadBalancerIpPool | undefined {
  const own = rangesOf(pool);
  return others.find(
    (other) =>
      other.metadata.name !== pool.metadata.name &&
      rangesOf(other).some((a) =>
        own.some((b) => a.family === b.family && a.first <= b.last && b.first <= a.last),
      ),
  );
}
