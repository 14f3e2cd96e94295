/** From what `heddle up` was asked for to the whole configuration of a cluster. Pure: nothing is made here. */
import type { Thresholds } from '../api/eviction.ts';
import type { Runtime } from '../api/runtime.ts';
import { type Encapsulation, podMtu } from '../datapath/encapsulation.ts';
import { HeddleError } from '../lib/errors.ts';
import {
  type Address,
  bits,
  type Cidr,
  type Family,
  firstOf,
  formatAddress,
  formatCidr,
  nth,
  overlaps,
  parseCidr,
} from '../lib/ip.ts';
import type { ClusterConfig, DatapathName, NodeConfig, TopologyConfig } from './config.ts';
import { groupsOf, type Place, type PlaceLink } from './lines/places.ts';

/** A node as somebody asks for it. */
export interface NodeSpec extends Place {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** What pods may ask for of it, by name. */
  readonly resources?: Readonly<Record<string, string>> | undefined;
}

export interface ClusterRequest {
  readonly id: string;
  readonly nodes: number;
  /** The first of them by name and place; the others are `node-N`. */
  readonly named?: readonly NodeSpec[];
  /** Between their places. */
  readonly links?: readonly PlaceLink[];
  /** Of what links lose. */
  readonly seed?: number | undefined;
  /** Of the underlay, before links with less. Default 1500. */
  readonly mtu?: number | undefined;
  /** Of pods, services and machines alike. Default: both. */
  readonly families?: readonly Family[];
  /** `10.0.0.0/16`, `fd00::/48` or both with a comma; a family that is not named keeps its default. */
  readonly podCidr?: string;
  /** Prefix lengths of nodes' blocks: `26`, `26,120` or, with one number, of IPv4 alone. */
  readonly nodeMask?: string | undefined;
  readonly serviceCidr?: string;
  readonly underlayCidr?: string;
  readonly clusterDomain?: string;
  /** On 127.0.0.1 of the machine. */
  readonly apiPort: number;
  readonly standIn: boolean;
  /** Pods may have files of the machine. */
  readonly allowHost?: boolean | undefined;
  readonly runtime?: Runtime | undefined;
  readonly imageDir?: string | undefined;
  readonly criEndpoint?: string | undefined;
  readonly datapath: DatapathName;
  /** How packets of pods travel between nodes. Default: by VXLAN. */
  readonly routing?: Encapsulation | undefined;
  /** 0 to 1. */
  readonly mapMemory?: number | undefined;
  /** When nodes are short of something. */
  readonly eviction?: Thresholds | undefined;
  /** Of every node that does not say itself. */
  readonly nodeResources?: Readonly<Record<string, string>> | undefined;
}

export const MAX_NODES = 250;
const DEFAULT_RANGES = {
  pod: ['10.244.0.0/16', 'fd00:10:244::/48'],
  service: ['10.96.0.0/16', 'fd00:10:96::/112'],
  underlay: ['10.240.0.0/24', 'fd00:10:240::/64'],
} as const;

/** What one node gets of each pod range at first, by family, if nothing is said. */
const BLOCK_LENGTH = { 4: 24, 6: 64 } as const;
export const API_PORT = 6443;
const UNDERLAY_MTU = 1500;

const BOTH: readonly Family[] = [4, 6];

type RangeName = keyof typeof DEFAULT_RANGES;

/** @throws HeddleError `BadFlag`, `BadCidr`, `RangesOverlap`, `RangeTooSmall` */
export function planCluster(request: ClusterRequest): ClusterConfig {
  const { nodes, families = BOTH } = request;
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES)
    throw new HeddleError('BadFlag', `--nodes ${nodes}: expected a whole number from 1 to ${MAX_NODES}`);
  const pods = rangesOf('pod', request.podCidr, families);
  const mask = blockLengths(request.nodeMask);
  const services = rangesOf('service', request.serviceCidr, families);
  const underlay = rangesOf('underlay', request.underlayCidr, families);
  refuseOverlaps({ pod: pods, service: services, underlay });
  for (const cidr of services) checkServiceRange(cidr);
  const places = underlayPlaces(underlay, nodes);
  const specs = nodeSpecs(request);
  const underlayMtu = Math.min(
    request.mtu ?? UNDERLAY_MTU,
    ...(request.links ?? []).flatMap(({ mtu }) => mtu ?? []),
  );
  return {
    id: request.id,
    nodes: specs.map(
      (spec, i): NodeConfig => ({
        ...spec,
        addresses: underlay.map((cidr) => place(cidr, i + 1)),
        podCidrs: pods.map((cidr) => block(cidr, i, nodes, mask[cidr.family])),
      }),
    ),
    podCidrs: pods.map(formatCidr),
    ...(request.nodeMask === undefined ? {} : { nodeMask: mask }),
    serviceCidrs: services.map(formatCidr),
    underlayCidrs: underlay.map(formatCidr),
    balancerCidrs: balancerRanges(underlay, [...pods, ...services]).map(formatCidr),
    dnsAddresses: services.map((cidr) => place(cidr, 10)),
    clusterDomain: clusterDomain(request.clusterDomain ?? 'cluster.local'),
    apiServer: {
      addresses: underlay.map((cidr) => place(cidr, places.controlPlane)),
      port: API_PORT,
      publishedPort: request.apiPort,
    },
    standIn: request.standIn,
    ...(request.allowHost ? { allowHost: true } : {}),
    ...(request.runtime === undefined ? {} : { runtime: request.runtime }),
    ...(request.imageDir === undefined ? {} : { imageDir: request.imageDir }),
    ...(request.criEndpoint === undefined ? {} : { criEndpoint: request.criEndpoint }),
    datapath: request.datapath,
    ...(request.mapMemory === undefined ? {} : { mapMemory: request.mapMemory }),
    ...roomOf(request),
    ...(request.routing === undefined ? {} : { routing: request.routing }),
    vxlan: { vni: 72, port: 4789 },
    podMtu: podMtu({
      encapsulation: request.routing ?? 'vxlan',
      underlayFamily: underlay[0]!.family,
      underlayMtu,
      podFamilies: pods.map(({ family }) => family),
    }),
    ...(underlayMtu === UNDERLAY_MTU ? {} : { underlayMtu }),
    ...topologyOf(specs, request),
  };
}

const roomOf = ({
  eviction,
  nodeResources = {},
}: ClusterRequest): Pick<ClusterConfig, 'eviction' | 'nodeResources'> => ({
  ...(eviction && { eviction }),
  ...(Object.keys(nodeResources).length > 0 && { nodeResources }),
});

function nodeSpecs({ nodes, named = [] }: ClusterRequest): NodeSpec[] {
  if (named.length > nodes)
    throw new HeddleError(
      'BadFlag',
      `--nodes ${nodes}: ${named.length} nodes have names and places already`,
      {
        hint: 'take some out of the cluster file, or leave the flag out',
      },
    );
  const taken = new Set(named.map(({ name }) => name));
  const rest = Array.from({ length: nodes - named.length }, (_, i) => ({
    name: `node-${named.length + i + 1}`,
  }));
  const double = rest.find(({ name }) => taken.has(name));
  if (double)
    throw new HeddleError('BadFlag', `--nodes ${nodes} needs the name ${double.name}, which is taken`, {
      hint: 'name every node in the cluster file',
    });
  return [...named, ...rest];
}

/** Nothing where all nodes share one bridge. */
function topologyOf(
  nodes: readonly NodeSpec[],
  { links = [], seed = 1 }: ClusterRequest,
): { topology?: TopologyConfig } {
  const groups = groupsOf(nodes, links);
  return groups.length < 2 ? {} : { topology: { groups, links, seed } };
}

function rangesOf(name: RangeName, given: string | undefined, families: readonly Family[]): Cidr[] {
  const flag = `--${name}-cidr`;
  const asked = given === undefined ? [] : given.split(',').map((text) => parseFlag(flag, text.trim()));
  const stranger = asked.find(({ family }) => !families.includes(family));
  if (stranger)
    throw new HeddleError(
      'BadFlag',
      `${flag} ${formatCidr(stranger)} is IPv${stranger.family}, and the cluster has IPv${families.join(' and IPv')} only`,
      { hint: `leave it out, or --ip-family dual for both` },
    );
  const defaults = DEFAULT_RANGES[name].map((text) => parseCidr(text));
  const chosen = defaults
    .filter(({ family }) => families.includes(family))
    .map((standard) => {
      const same = asked.filter((cidr) => cidr.family === standard.family);
      if (same.length > 1)
        throw new HeddleError(
          'BadFlag',
          `${flag} ${given}: ${same.map(formatCidr).join(' and ')} are both IPv${standard.family}`,
          { hint: `give at most one range of each family, like ${DEFAULT_RANGES[name].join(',')}` },
        );
      return same[0] ?? standard;
    });
  for (const cidr of chosen) refuseSpecial(flag, cidr);
  return chosen;
}

function parseFlag(flag: string, text: string): Cidr {
  try {
    return parseCidr(text);
  } catch (error) {
    throw new HeddleError('BadCidr', `${flag}: ${error instanceof Error ? error.message : text}`);
  }
}

/** Ranges that the kernel treats differently, or that Heddle itself uses in every pod. */
const special: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'means "this network"'],
  ['127.0.0.0/8', 'is the loopback range'],
  ['169.254.0.0/16', 'is link-local; pods find their gateway in it'],
  ['203.0.113.0/24', 'stands for the world outside of the cluster'],
  ['224.0.0.0/3', 'is multicast or reserved'],
  ['::/8', 'holds loopback and mapped addresses'],
  ['2001:db8::/32', 'stands for the world outside of the cluster'],
  ['fe80::/10', 'is link-local; pods find their gateway in it'],
  ['ff00::/8', 'is multicast'],
];

function refuseSpecial(flag: string, cidr: Cidr): void {
  for (const [text, why] of special)
    if (overlaps(cidr, parseCidr(text)))
      throw new HeddleError('RangesOverlap', `${flag} ${formatCidr(cidr)} overlaps ${text}, which ${why}`, {
        hint: 'choose a private range: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, or fd00::/8',
      });
}

function refuseOverlaps(ranges: Readonly<Record<RangeName, readonly Cidr[]>>): void {
  const all = Object.entries(ranges).flatMap(([name, cidrs]) =>
    cidrs.map((cidr) => ({ text: `--${name}-cidr ${formatCidr(cidr)}`, cidr })),
  );
  for (const [i, a] of all.entries())
    for (const b of all.slice(i + 1))
      if (overlaps(a.cidr, b.cidr))
        throw new HeddleError('RangesOverlap', `${a.text} overlaps ${b.text}`, {
          hint: 'pods, services and nodes need ranges of their own; change one of the two',
        });
}

const hostBits = (cidr: Cidr): number => bits(cidr.family) - cidr.length;

/** The cluster DNS is the tenth address; Kubernetes allows ranges of at most 20 host bits. */
function checkServiceRange(cidr: Cidr): void {
  const size = bits(cidr.family);
  if (hostBits(cidr) < 4 || hostBits(cidr) > 20)
    throw new HeddleError(
      hostBits(cidr) < 4 ? 'RangeTooSmall' : 'BadFlag',
      `--service-cidr ${formatCidr(cidr)}: expected a length from /${size - 20} to /${size - 4}`,
    );
}

/**
 * Node n has the n-th address; control plane and outside have the last ones before the broadcast address, of
 * the first 256 in larger ranges.
 */
function underlayPlaces(underlay: readonly Cidr[], nodes: number): { controlPlane: number; outside: number } {
  const smallest = underlay.reduce((a, b) => (hostBits(a) <= hostBits(b) ? a : b));
  const span = Math.min(256, 2 ** Math.min(hostBits(smallest), 8));
  if (nodes > span - 4)
    throw new HeddleError(
      'RangeTooSmall',
      `--underlay-cidr ${formatCidr(smallest)} has no room for ${nodes} nodes: it holds ${Math.max(0, span - 4)}`,
      { hint: `use at least a /24 for IPv4 and a /120 for IPv6, or fewer nodes` },
    );
  return { controlPlane: span - 3, outside: span - 2 };
}

/** Host bits of the ranges for load balancers: 256 and 65,536 addresses. */
const BALANCER_BITS = { 4: 8, 6: 16 } as const;

/**
 * Machines are among the first 256 addresses of the underlay: the balancers' block is the second of its size,
 * inside of the underlay where that is large enough, else the one next to it. A family whose block is somebody
 * else's has none.
 */
function balancerRanges(underlay: readonly Cidr[], others: readonly Cidr[]): Cidr[] {
  return underlay.flatMap((cidr): Cidr[] => {
    const { family } = cidr;
    const own = BALANCER_BITS[family];
    const inside = hostBits(cidr) > own;
    const size = inside ? own : hostBits(cidr);
    const value = cidr.value + (1n << BigInt(size));
    const range = { family, value, length: bits(family) - size };
    const taken = [...others, ...(inside ? [] : underlay), ...special.map(([text]) => parseCidr(text))];
    return value < 1n << BigInt(bits(family)) && !taken.some((each) => overlaps(each, range)) ? [range] : [];
  });
}

/** The address through which the nodes reach what is outside of the cluster. */
export function outsideAddresses(config: Pick<ClusterConfig, 'underlayCidrs' | 'nodes'>): string[] {
  const underlay = config.underlayCidrs.map(parseCidr);
  const { outside } = underlayPlaces(underlay, config.nodes.length);
  return underlay.map((cidr) => place(cidr, outside));
}

/** Blocks of 5 to 65,533 addresses in IPv4, of 6 and more in IPv6. */
const MASKS = { 4: [16, 29], 6: [48, 125] } as const;

function blockLengths(text: string | undefined): Record<Family, number> {
  const lengths: Record<Family, number> = { ...BLOCK_LENGTH };
  if (text === undefined) return lengths;
  const parts = text.split(',');
  for (const [i, family] of ([4, 6] as const).entries()) {
    const part = parts[i];
    if (part === undefined) continue;
    const [least, most] = MASKS[family];
    const length = /^\d{1,3}$/.test(part) ? Number(part) : Number.NaN;
    if (!(length >= least && length <= most) || parts.length > 2)
      throw new HeddleError(
        'BadFlag',
        `--node-mask "${text}": expected a prefix length from ${MASKS[4][0]} to ${MASKS[4][1]} for IPv4 and, after a comma, one from ${MASKS[6][0]} to ${MASKS[6][1]} for IPv6`,
      );
    lengths[family] = length;
  }
  return lengths;
}

function block(cidr: Cidr, index: number, nodes: number, length: number): string {
  const count = length < cidr.length ? 0n : 1n << BigInt(length - cidr.length);
  if (count < BigInt(nodes))
    throw new HeddleError(
      'RangeTooSmall',
      `--pod-cidr ${formatCidr(cidr)} has no room for ${nodes} nodes: each needs a /${length}, it holds ${count}`,
      { hint: 'use a wider range, such as 10.244.0.0/16 or fd00:10:244::/48, or fewer nodes' },
    );
  const value = firstOf(cidr).value + (BigInt(index) << BigInt(bits(cidr.family) - length));
  return formatCidr({ family: cidr.family, value, length });
}

function place(cidr: Cidr, offset: number): string {
  const address: Address | undefined = nth(cidr, BigInt(offset));
  if (!address) throw new RangeError(`${formatCidr(cidr)} has no address ${offset}`);
  return formatAddress(address);
}

function clusterDomain(text: string): string {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (!new RegExp(`^${label}(\\.${label})*$`).test(text) || text.length > 200)
    throw new HeddleError(
      'BadFlag',
      `--cluster-domain "${text}" is not a domain name (expected cluster.local)`,
      {
        hint: 'lower-case letters, digits, dashes and dots; no dot at the end',
      },
    );
  return text;
}
