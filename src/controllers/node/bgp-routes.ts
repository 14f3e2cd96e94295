/** What peers of a node are told: CiliumBGPAdvertisements and the node's Services → routes. Pure. */
import type {
  BgpAdvertisement,
  BgpAttributes,
  CiliumBgpAdvertisement,
  CiliumBgpPeerConfig,
} from '../../api/cilium-bgp-types.ts';
import type { CiliumPodIpPool, PoolAllocation } from '../../api/ipam-types.ts';
import { WELL_KNOWN_COMMUNITIES } from '../../api/cilium-bgp-words.ts';
import { compileSelector } from '../../api/selector.ts';
import type { Service } from '../../api/types.ts';
import type { Advertisement } from '../../bgp/local-routes.ts';
import type { FrontendKind, ServiceFrontend } from '../../datapath/plan/tables.ts';
import { canonicalAddress, formatCidr, parseCidr } from '../../lib/ip.ts';
import { isToldByBgp } from '../balancer-plan.ts';

export interface RoutesWorld {
  readonly podCidrs: readonly string[];
  readonly advertisements: readonly CiliumBgpAdvertisement[];
  /** Blocks that the node has, by their pools. */
  readonly blocks: readonly PoolAllocation[];
  readonly pools: readonly CiliumPodIpPool[];
  readonly services: readonly Service[];
  readonly frontends: Iterable<ServiceFrontend>;
  /** `10.0.0.1/24` */
  addressesOf(link: string): readonly string[];
}

/** A peer and how its session is held. */
export interface ToldPeer {
  readonly name: string;
  readonly families: NonNullable<CiliumBgpPeerConfig['spec']['families']>;
}

const KINDS: Readonly<Record<string, FrontendKind>> = {
  LoadBalancerIP: 'LoadBalancer',
  ClusterIP: 'ClusterIP',
  ExternalIP: 'ExternalIP',
};

/** Of one instance: its peers may be told different things, with different attributes. */
export function advertisementsFor(peers: readonly ToldPeer[], world: RoutesWorld): Advertisement[] {
  const prefixes = createPrefixes(world);
  const groups = new Map<string, Advertisement & { peers: string[] }>();
  for (const peer of peers)
    for (const [prefix, attributes] of toldTo(peer, world, prefixes)) {
      const route = { prefix, ...lowered(attributes) };
      const key = JSON.stringify(route);
      const group = groups.get(key) ?? { ...route, peers: [] };
      group.peers.push(peer.name);
      groups.set(key, group);
    }
  return [...groups.values()];
}

/** What several advertisements say of one prefix adds up; of preferences the highest counts, as with Cilium. */
function toldTo(
  peer: ToldPeer,
  { advertisements }: RoutesWorld,
  prefixes: (one: BgpAdvertisement) => readonly string[],
): Map<string, BgpAttributes[]> {
  const told = new Map<string, BgpAttributes[]>();
  for (const { afi, advertisements: selector } of peer.families) {
    if (!selector) continue;
    const selects = compileSelector(selector);
    const chosen = advertisements
      .filter(({ metadata }) => selects(metadata.labels))
      .flatMap(({ spec }) => spec.advertisements);
    const isFamily = (prefix: string) => prefix.includes(':') === (afi === 'ipv6');
    for (const one of chosen)
      for (const prefix of prefixes(one).filter(isFamily))
        told.set(prefix, [...(told.get(prefix) ?? []), one.attributes ?? {}]);
  }
  return told;
}

function lowered(all: readonly BgpAttributes[]): Pick<Advertisement, 'communities' | 'localPref'> {
  const communities = all.flatMap(({ communities: { standard = [], wellKnown = [], large = [] } = {} }) => [
    ...standard.map(standardText),
    ...wellKnown.map((name) => WELL_KNOWN_COMMUNITIES[name] ?? ''),
    ...large,
  ]);
  const preferences = all.flatMap(({ localPreference }) => localPreference ?? []);
  return {
    ...(communities.length > 0 ? { communities: [...new Set(communities)].toSorted() } : {}),
    ...(preferences.length > 0 ? { localPref: Math.max(...preferences) } : {}),
  };
}

/** One number of 32 bits is two of 16. */
function standardText(text: string): string {
  if (text.includes(':')) return text;
  const number = Number(text);
  return `${Math.floor(number / 65536)}:${number % 65536}`;
}

/** Of each advertisement once, however many peers are told. */
function createPrefixes(world: RoutesWorld): (one: BgpAdvertisement) => readonly string[] {
  const known = new Map<BgpAdvertisement, readonly string[]>();
  let byService: Map<string, ServiceFrontend[]> | undefined;

  function frontendsOf({ metadata }: Service): readonly ServiceFrontend[] {
    byService ??= Map.groupBy(world.frontends, ({ service }) => service);
    return byService.get(`${metadata.namespace ?? 'default'}/${metadata.name}`) ?? [];
  }

  function read(one: BgpAdvertisement): readonly string[] {
    if (one.advertisementType === 'PodCIDR') return world.podCidrs.map((text) => formatCidr(parseCidr(text)));
    if (one.advertisementType === 'Interface') return linkPrefixes(one, world);
    if (one.advertisementType === 'CiliumPodIPPool') return poolPrefixes(one, world);
    if (one.advertisementType !== 'Service' || !one.selector) return [];
    const selects = compileSelector(one.selector);
    const found = world.services
      .filter((service) => selects(labelsOf(service)))
      .flatMap((service) => servicePrefixes(one, service, frontendsOf(service)));
    return [...new Set(found)];
  }

  return (one) => {
    const prefixes = known.get(one) ?? read(one);
    known.set(one, prefixes);
    return prefixes;
  };
}

const labelsOf = ({ metadata }: Service) => ({
  ...metadata.labels,
  'io.kubernetes.service.name': metadata.name,
  'io.kubernetes.service.namespace': metadata.namespace ?? 'default',
});

function servicePrefixes(
  { service: options }: BgpAdvertisement,
  service: Service,
  frontends: readonly ServiceFrontend[],
): string[] {
  const prefixes: string[] = [];
  for (const type of options?.addresses ?? []) {
    if (type === 'LoadBalancerIP' && !isToldByBgp(service)) continue;
    const internal = type === 'ClusterIP';
    const policy = internal ? service.spec?.internalTrafficPolicy : service.spec?.externalTrafficPolicy;
    const isLocal = policy === 'Local';
    for (const frontend of frontends) {
      if (frontend.kind !== KINDS[type]) continue;
      // Without a backend here the node would drop what routers send it. Without any it refuses, which clients learn.
      const here = (internal ? frontend.backends : frontend.externalBackends) ?? [];
      if (isLocal && here.length === 0) continue;
      prefixes.push(prefixOf(frontend.address, isLocal ? undefined : options));
    }
  }
  return prefixes;
}

/** Of a canonical address. A Local one is told alone: others in its range may be elsewhere. */
function prefixOf(text: string, options: BgpAdvertisement['service']): string {
  const isSix = text.includes(':');
  const length = isSix ? options?.aggregationLengthIPv6 : options?.aggregationLengthIPv4;
  if (length === undefined) return `${text}/${isSix ? 128 : 32}`;
  return formatCidr(parseCidr(`${text}/${length}`));
}

const isOwn = (address: string) => !/^(127\.|169\.254\.|::1$|fe[89ab])/i.test(address);

function linkPrefixes(one: BgpAdvertisement, { addressesOf }: RoutesWorld): string[] {
  return addressesOf(one.interface?.name ?? '')
    .map((text) => text.replace(/\/.*$/, ''))
    .filter(isOwn)
    .map((text) => prefixOf(canonicalAddress(text), undefined));
}

function poolPrefixes({ selector }: BgpAdvertisement, { blocks, pools }: RoutesWorld): string[] {
  if (!selector) return [];
  const selects = compileSelector(selector);
  const named = pools.filter(({ metadata }) =>
    selects({
      ...metadata.labels,
      'io.cilium.podippool.name': metadata.name,
      'io.cilium.podippool.namespace': '',
    }),
  );
  const names = new Set(named.map(({ metadata }) => metadata.name));
  return blocks
    .filter(({ pool }) => names.has(pool))
    .flatMap(({ cidrs = [] }) => cidrs.map((cidr) => formatCidr(parseCidr(cidr))));
}
