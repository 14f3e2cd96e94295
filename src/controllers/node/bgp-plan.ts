/** A node's CiliumBGPNodeConfig, and all that it names → what its speakers are to be. Pure. */
import type {
  BgpNodeInstance,
  BgpNodePeer,
  CiliumBgpNodeConfig,
  CiliumBgpPeerConfig,
} from '../../api/cilium-bgp-types.ts';
import { BGP_SECRETS, importRanges } from '../../api/cilium-bgp-words.ts';
import type { PeerConfig, SpeakerConfig } from '../../bgp/config.ts';
import type { Advertisement } from '../../bgp/local-routes.ts';
import { type Filter, type PrefixMatch, rejectAll } from '../../bgp/rib/filter.ts';
import { bits, type Family, parseAddress, parseCidr, toBytes, tryParseCidr } from '../../lib/ip.ts';
import { advertisementsFor, type RoutesWorld, type ToldPeer } from './bgp-routes.ts';

export interface Gateway {
  readonly address: string;
  readonly dev: string;
}

export interface BgpNodeWorld extends RoutesWorld {
  /** The node's own, IPv4 first. */
  readonly addresses: readonly string[];
  /** Of the cluster's pods, services and nodes. */
  readonly clusterCidrs: readonly string[];
  peerConfig(name: string): CiliumBgpPeerConfig | undefined;
  /** Of a Secret in `BGP_SECRETS`: its key `password`; undefined where there is no such Secret. */
  password(secret: string): { readonly text: string | undefined } | undefined;
  gateway(family: Family): Gateway | undefined;
}

export interface InstancePlan {
  readonly name: string;
  /** Undefined where it cannot be. */
  readonly config: SpeakerConfig | undefined;
  readonly advertisements: readonly Advertisement[];
  /** What of it cannot be, and why. */
  readonly problems: readonly string[];
}

/** What Linux takes (RFC 2385 has no limit). */
const MOST_PASSWORD = 80;
/** Of equal ways to one prefix. */
const MULTIPATH = 8;
/** As a timer of Node counts them. */
const MOST_RETRY = 65535;

export const planInstances = (config: CiliumBgpNodeConfig | undefined, world: BgpNodeWorld): InstancePlan[] =>
  (config?.spec.bgpInstances ?? []).map((instance) => planInstance(instance, world));

function planInstance(instance: BgpNodeInstance, world: BgpNodeWorld): InstancePlan {
  const { name, localASN, localPort, routerID } = instance;
  if (localASN === undefined)
    return {
      name,
      config: undefined,
      advertisements: [],
      problems: ['localASN is not said, neither for the instance nor for this node'],
    };
  const peers = new Map<string, PeerConfig>();
  const told: ToldPeer[] = [];
  const problems: string[] = [];
  for (const peer of instance.peers ?? []) {
    const planned = planPeer(peer, localASN, world);
    if (typeof planned === 'string') {
      problems.push(`peer ${peer.name}: ${planned}`);
      continue;
    }
    const key = `${planned.config.peerAddress}%${planned.config.interface ?? ''}`;
    const other = peers.get(key);
    if (other) problems.push(`peer ${peer.name}: ${planned.config.peerAddress} is peer ${other.name} too`);
    else {
      peers.set(key, planned.config);
      told.push({ name: peer.name, families: planned.spec.families ?? [] });
    }
  }
  const config: SpeakerConfig = {
    localASN,
    routerId: routerID ?? routerIdOf(world.addresses),
    localPort: localPort ?? 0,
    peers: [...peers.values()],
    multipath: MULTIPATH,
  };
  return { name, config, advertisements: advertisementsFor(told, world), problems };
}

/** RFC 6286 section 2.1: any number that no other speaker of the AS has. */
export function routerIdOf(addresses: readonly string[]): string {
  const four = addresses.find((address) => !address.includes(':'));
  if (four !== undefined) return four;
  let hash = 0x811c9dc5;
  for (const octet of toBytes(parseAddress(addresses[0] ?? '::')))
    hash = Math.imul(hash ^ octet, 0x01000193) >>> 0;
  return [24, 16, 8, 0].map((shift) => (hash >>> shift) & 255).join('.');
}

interface PlannedPeer {
  readonly config: PeerConfig;
  readonly spec: CiliumBgpPeerConfig['spec'];
}

/** Or why there is none. */
function planPeer(peer: BgpNodePeer, localASN: number, world: BgpNodeWorld): PlannedPeer | string {
  const held = peer.peerConfigRef ? world.peerConfig(peer.peerConfigRef.name) : undefined;
  if (peer.peerConfigRef && !held) return `there is no CiliumBGPPeerConfig ${peer.peerConfigRef.name}`;
  const spec = held?.spec ?? {};
  const where = placeOf(peer, world);
  if (typeof where === 'string') return where;
  const local = localOf(peer, spec, where.peerAddress, world);
  if (local.problem !== undefined) return local.problem;
  const secret = passwordOf(spec, world);
  if (secret.problem !== undefined) return secret.problem;
  return {
    spec,
    config: {
      name: peer.name,
      ...where,
      peerASN: peer.peerASN ?? 0,
      localAddress: local.address,
      password: secret.text,
      ...heldAs(spec),
      ebgpMultihop: peer.peerASN === localASN ? undefined : spec.ebgpMultihop,
      importFilter: takes(importRanges(held?.metadata.annotations), ownRanges(world)),
    },
  };
}

function heldAs({ transport, families, timers, gracefulRestart }: CiliumBgpPeerConfig['spec']) {
  const retry = timers?.connectRetryTimeSeconds;
  return {
    peerPort: transport?.peerPort,
    families: families?.map(({ afi }) => afi as 'ipv4' | 'ipv6'),
    timers: timers && {
      ...timers,
      connectRetryTimeSeconds: retry === undefined ? undefined : Math.min(retry, MOST_RETRY),
    },
    gracefulRestart: {
      enabled: gracefulRestart?.enabled ?? false,
      restartTimeSeconds: gracefulRestart?.restartTimeSeconds,
    },
  };
}

/** Where the kernel would believe a more exact route than its own: pods of all pools, services, nodes. */
function ownRanges({ clusterCidrs, podCidrs, pools, blocks }: BgpNodeWorld): string[] {
  const all = [
    ...clusterCidrs,
    ...podCidrs,
    ...pools.flatMap(({ spec }) => [...(spec.ipv4?.cidrs ?? []), ...(spec.ipv6?.cidrs ?? [])]),
    ...blocks.flatMap(({ cidrs = [] }) => cidrs),
  ];
  return [...new Set(all)].filter((text) => tryParseCidr(text) !== undefined);
}

const within = (prefix: string): PrefixMatch => {
  const { family, length } = parseCidr(prefix);
  return { prefix, ge: length, le: bits(family) };
};

const takes = (ranges: readonly string[], never: readonly string[]): Filter =>
  ranges.length === 0
    ? rejectAll
    : {
        statements: [
          { match: { prefixes: never.map(within) }, action: 'reject' },
          { match: { prefixes: ranges.map(within) }, action: 'accept' },
        ],
      };

function placeOf(
  { peerAddress, peerInterface, autoDiscovery }: BgpNodePeer,
  world: BgpNodeWorld,
): { peerAddress: string; interface?: string } | string {
  if (peerAddress !== undefined)
    return { peerAddress, ...(peerInterface === undefined ? {} : { interface: peerInterface }) };
  if (autoDiscovery?.mode !== 'DefaultGateway') return 'it has no peerAddress';
  const isSix = autoDiscovery.defaultGateway?.addressFamily === 'ipv6';
  const gateway = world.gateway(isSix ? 6 : 4);
  if (!gateway) return `this node has no default gateway of ${isSix ? 'IPv6' : 'IPv4'}`;
  const isLinkLocal = /^fe[89ab]/i.test(gateway.address);
  return { peerAddress: gateway.address, ...(isLinkLocal ? { interface: gateway.dev } : {}) };
}

interface Found {
  readonly problem?: string;
}

function localOf(
  { localAddress }: BgpNodePeer,
  { transport }: CiliumBgpPeerConfig['spec'],
  peerAddress: string,
  world: BgpNodeWorld,
): Found & { address?: string } {
  const { family } = parseAddress(peerAddress);
  if (localAddress !== undefined)
    return parseAddress(localAddress).family === family
      ? { address: localAddress }
      : { problem: `localAddress ${localAddress} is not of the family of ${peerAddress}` };
  const link = transport?.sourceInterface;
  if (link === undefined) return {};
  const found = world
    .addressesOf(link)
    .map((text) => text.replace(/\/.*$/, ''))
    .filter((text) => parseAddress(text).family === family && !/^(127\.|::1$|fe[89ab])/i.test(text));
  const [address, second] = found;
  if (address === undefined) return { problem: `sourceInterface ${link} has no address of its family` };
  if (second !== undefined)
    return { problem: `sourceInterface ${link} has several addresses of its family: ${found.join(', ')}` };
  return { address };
}

/** Without what it is to be proved by a session is not begun: a key that is missing is no reason to do without. */
function passwordOf(
  { authSecretRef }: CiliumBgpPeerConfig['spec'],
  world: BgpNodeWorld,
): Found & { text?: string } {
  if (authSecretRef === undefined) return {};
  const secret = world.password(authSecretRef);
  const name = `${BGP_SECRETS}/${authSecretRef}`;
  if (!secret) return { problem: `there is no Secret ${name} (authSecretRef)` };
  if (!secret.text) return { problem: `the Secret ${name} has no key "password"` };
  if (Buffer.byteLength(secret.text) > MOST_PASSWORD)
    return { problem: `the password in the Secret ${name} has more than ${MOST_PASSWORD} octets` };
  return { text: secret.text };
}
