/**
 * What a speaker is told. Names follow Cilium's BGP resources (localASN, peerASN, holdTimeSeconds …), defaults too
 * where they have one.
 */
import { isDeepStrictEqual } from 'node:util';
import { HeddleError } from '../lib/errors.ts';
import { tryParseAddress } from '../lib/ip.ts';
import type { Filter } from './rib/filter.ts';
import { checkFilter } from './rib/filter-check.ts';
import type { AddressFamily } from './wire/codes.ts';

export interface PeerConfig {
  /** Of this peer in status and logs; unique. */
  readonly name: string;
  readonly peerAddress: string;
  readonly peerASN: number;
  /** Default: that of the speaker. */
  readonly localASN?: number;
  /** Default: what the kernel chooses. Also the next hop that the peer is given in this family. */
  readonly localAddress?: string;
  /** Link of a peer with an fe80 address. */
  readonly interface?: string;
  /** Default 179. */
  readonly peerPort?: number;
  /** Waits for the peer to connect. Default false. */
  readonly passive?: boolean;
  /** Default: both. */
  readonly families?: readonly AddressFamily[];
  readonly timers?: {
    /** Between attempts to connect, at most; attempts start closer together. Default 120. */
    readonly connectRetryTimeSeconds?: number;
    /** 0, or 3 to 65,535; the lesser of both ends counts. Default 90. */
    readonly holdTimeSeconds?: number;
    /** Default: a third of what both ends agree on. */
    readonly keepAliveTimeSeconds?: number;
  };
  readonly gracefulRestart?: {
    /** Default true. */
    readonly enabled?: boolean;
    /** How long the peer is asked to keep our routes while we restart; 0 to 4095. Default 120. */
    readonly restartTimeSeconds?: number;
    /** How long routes that a restarted peer has not told again are kept after it is back. Default 360. */
    readonly stalePathTimeSeconds?: number;
  };
  /** Hops to a peer of another AS. Default 1: it is on a link of ours. */
  readonly ebgpMultihop?: number;
  /** RFC 5082: takes nothing that came over a router, at both ends. Default false. */
  readonly ttlSecurity?: boolean;
  /** RFC 2385. */
  readonly password?: string;
  /** IPv4 routes may have a next hop of IPv6 (RFC 8950). Default false. */
  readonly extendedNextHop?: boolean;
  /** The session ends when the peer tells more. Default: no limit. */
  readonly maxPrefixes?: number;
  /** Routes whose path does not begin with the peer's AS count as withdrawn; not so for route servers. Default true. */
  readonly enforceFirstAS?: boolean;
  /** Next hops told to the peer, instead of this end's addresses. */
  readonly nextHop?: { readonly ipv4?: string; readonly ipv6?: string };
  /** Routes of other ASes go to internal peers with ourselves as next hop. Default false. */
  readonly nextHopSelf?: boolean;
  /** Default: all of an internal peer, nothing of an external one (RFC 8212). */
  readonly importFilter?: Filter;
  /** Default: what `advertise` was given, and nothing learned. */
  readonly exportFilter?: Filter;
}

export interface SpeakerConfig {
  readonly localASN: number;
  /** An IPv4 address that no other speaker has. */
  readonly routerId: string;
  /** 0: does not listen. Default 179. */
  readonly localPort?: number;
  /** Default: all of both families. */
  readonly listenAddresses?: readonly string[];
  readonly peers: readonly PeerConfig[];
  /** Most ways to one prefix. Default 1: multipath is off. */
  readonly multipath?: number;
  /** Kernel table for learned routes. Default 254, main. */
  readonly table?: number;
  /** Metric of learned routes: with protocol 72 it says whose they are. Default 1179, behind others' routes. */
  readonly metric?: number;
  /** False: learned routes stay out of the kernel. Default true. */
  readonly installRoutes?: boolean;
  /**
   * The speaker was here before and packets have kept flowing: peers keep what they had, and so does the kernel.
   * Default: whether the kernel has routes of ours.
   */
  readonly restarting?: boolean;
  /** How long a restarting speaker waits for its peers' routes before it removes what is old. Default 120. */
  readonly selectionDeferralSeconds?: number;
  /** Between looks at links, addresses and routes for what next hops resolve to. Default 5. */
  readonly scanSeconds?: number;
}

const bad = (message: string, hint?: string): HeddleError => new HeddleError('BgpConfig', message, { hint });

const isAs = (as: number) =>
  Number.isInteger(as) && as >= 1 && as <= 4294967294 && as !== 65535 && as !== 23456;

/** @throws HeddleError `BgpConfig`, for the first thing that cannot be */
export function checkSpeakerConfig(config: SpeakerConfig): void {
  if (!isAs(config.localASN))
    throw bad(`localASN ${config.localASN} is not an AS number of one's own (1 to 4294967294)`);
  const id = tryParseAddress(config.routerId);
  if (id?.family !== 4 || id.value === 0n)
    throw bad(
      `routerId "${config.routerId}" is not an IPv4 address`,
      'an IPv6-only node still needs a number of this form',
    );
  const [names, addresses] = [new Set<string>(), new Set<string>()];
  for (const peer of config.peers) {
    checkPeer(peer);
    if (names.has(peer.name)) throw bad(`two peers have the name ${peer.name}`);
    const address = `${peer.peerAddress}%${peer.interface ?? ''}`;
    if (addresses.has(address)) throw bad(`two peers have the address ${peer.peerAddress}`);
    names.add(peer.name);
    addresses.add(address);
  }
}

/** Whether the session with the peer can go on: only filters and the limit differ. */
export const isRetuned = (now: PeerConfig, before: PeerConfig): boolean => {
  const { importFilter: _in, exportFilter: _out, maxPrefixes: _most, ...rest } = now;
  const { importFilter: _in2, exportFilter: _out2, maxPrefixes: _most2, ...restBefore } = before;
  return isDeepStrictEqual(rest, restBefore);
};

function checkPeer(peer: PeerConfig): void {
  const where = `of the BGP peer ${peer.name}`;
  const address = tryParseAddress(peer.peerAddress);
  if (!address) throw bad(`peerAddress ${where} is "${peer.peerAddress}", expected an IP address`);
  if (!isAs(peer.peerASN)) throw bad(`peerASN ${where} is ${peer.peerASN}, expected 1 to 4294967294`);
  if (/^fe[89ab]/i.test(peer.peerAddress) && peer.interface === undefined)
    throw bad(`peerAddress ${where} is of one link only`, 'say which one: interface');
  const local = peer.localAddress === undefined ? address : tryParseAddress(peer.localAddress);
  if (local?.family !== address.family)
    throw bad(`localAddress ${where} is "${peer.localAddress}", expected one of the peer's family`);
  if (peer.families?.length === 0) throw bad(`families ${where} is empty`);
  if (peer.ttlSecurity && (peer.ebgpMultihop ?? 1) > 1)
    throw bad(
      `the BGP peer ${peer.name} has both ttlSecurity and ebgpMultihop`,
      'ttlSecurity is for peers on a link',
    );
  checkTimers(peer, where);
  for (const filter of [peer.importFilter, peer.exportFilter]) if (filter) checkFilter(filter, where);
}

function checkTimers({ timers = {}, gracefulRestart = {} }: PeerConfig, where: string): void {
  const range = (name: string, value: number | undefined, least: number, most: number) => {
    if (value !== undefined && (!Number.isFinite(value) || value < least || value > most))
      throw bad(`${name} ${where} is ${value}, expected ${least} to ${most}`);
  };
  if (timers.holdTimeSeconds !== 0) range('holdTimeSeconds', timers.holdTimeSeconds, 3, 65535);
  range('connectRetryTimeSeconds', timers.connectRetryTimeSeconds, 1, 65535);
  range('keepAliveTimeSeconds', timers.keepAliveTimeSeconds, 1, 65535);
  range('restartTimeSeconds', gracefulRestart.restartTimeSeconds, 0, 4095);
  range('stalePathTimeSeconds', gracefulRestart.stalePathTimeSeconds, 1, 86400);
}

export const localAsOf = (config: SpeakerConfig, peer: PeerConfig): number =>
  peer.localASN ?? config.localASN;
export const isExternal = (config: SpeakerConfig, peer: PeerConfig): boolean =>
  localAsOf(config, peer) !== peer.peerASN;
export const familiesOf = (peer: PeerConfig): readonly AddressFamily[] => peer.families ?? ['ipv4', 'ipv6'];
export const keepsOverRestart = (peer: PeerConfig): boolean => peer.gracefulRestart?.enabled ?? true;
