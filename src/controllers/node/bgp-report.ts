/** What a node's speakers say of themselves, for the object's status and for people. */
import type { BgpInstanceStatus, BgpPeerStatus } from '../../api/cilium-bgp-types.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import type { NeighbourStatus } from '../../bgp/status.ts';
import type { PathAttributes } from '../../bgp/wire/attributes.ts';
import { timestamp } from '../loop.ts';

export interface NamedSpeaker {
  readonly name: string;
  readonly speaker: Pick<Speaker, 'status' | 'routes' | 'told'>;
}

/** A session, as `heddle bgp peers` shows it. */
export interface BgpPeerRow {
  readonly instance: string;
  readonly peer: string;
  readonly localASN: number;
  readonly peerASN: number;
  readonly peerAddress: string;
  readonly state: string;
  /** Seconds that it stands; null where it does not. */
  readonly uptime: number | null;
  readonly restarts: number;
  readonly lastError: { readonly code: string; readonly text: string; readonly at: string } | null;
  readonly families: readonly {
    readonly family: string;
    readonly received: number;
    readonly advertised: number;
  }[];
}

/** A route, as `heddle bgp routes` shows it. */
export interface BgpRouteRow {
  readonly instance: string;
  readonly localASN: number;
  /** Who told it, or is told; null for what is this node's own. */
  readonly peer: string | null;
  readonly prefix: string;
  /** Null for what is this node's own. */
  readonly nextHop: string | null;
  readonly best: boolean;
  readonly asPath: readonly number[];
  readonly localPreference: number | null;
  readonly med: number | null;
  readonly communities: readonly string[];
  readonly largeCommunities: readonly string[];
}

/** For `heddle status`. */
export interface BgpOverview {
  readonly peers: number;
  readonly down: readonly {
    readonly instance: string;
    readonly peer: string;
    readonly address: string;
    readonly state: string;
    readonly why: string | null;
  }[];
  readonly problems: readonly string[];
}

/** As Cilium writes states. */
const STATES: Readonly<Record<string, string>> = { opensent: 'open_sent', openconfirm: 'open_confirm' };
const stateOf = ({ state }: NeighbourStatus): string => STATES[state] ?? state;

const FAMILIES = ['ipv4', 'ipv6'] as const;

export function instanceStatus({ name, speaker }: NamedSpeaker): BgpInstanceStatus {
  const { localAS, peers } = speaker.status();
  return { name, localASN: localAS, peers: peers.map(peerStatus) };
}

function peerStatus(peer: NeighbourStatus): BgpPeerStatus {
  const { name, address, peerAS, state, since, holdTime, keepAliveTime, perFamily, families } = peer;
  const base = { name, peerAddress: address, peerASN: peerAS, peeringState: stateOf(peer) };
  if (state !== 'established') return base;
  return {
    ...base,
    establishedTime: timestamp(since),
    timers: {
      appliedHoldTimeSeconds: holdTime ?? 0,
      appliedKeepaliveSeconds: Math.floor(keepAliveTime ?? 0),
    },
    routeCount: families.map((afi) => ({
      afi,
      safi: 'unicast',
      received: perFamily[afi].received,
      advertised: perFamily[afi].sent,
    })),
  };
}

export const peerRows = (speakers: readonly NamedSpeaker[], now: number): BgpPeerRow[] =>
  speakers.flatMap(({ name, speaker }) =>
    speaker.status().peers.map((peer) => ({
      instance: name,
      peer: peer.name,
      localASN: peer.localAS,
      peerASN: peer.peerAS,
      peerAddress: peer.address,
      state: stateOf(peer),
      uptime: peer.state === 'established' ? Math.floor((now - peer.since) / 1000) : null,
      restarts: peer.restarts,
      lastError: peer.lastError
        ? { code: peer.lastError.code, text: peer.lastError.text, at: timestamp(peer.lastError.at) }
        : null,
      families: FAMILIES.filter((family) => peer.families.includes(family)).map((family) => ({
        family: `${family}/unicast`,
        received: peer.perFamily[family].received,
        advertised: peer.perFamily[family].sent,
      })),
    })),
  );

const attributesRow = ({
  asPath,
  localPref,
  med,
  communities = [],
  largeCommunities = [],
}: PathAttributes) => ({
  asPath: asPath.flatMap(({ as }) => as),
  localPreference: localPref ?? null,
  med: med ?? null,
  communities,
  largeCommunities,
});

/** In use: this node's own, and those that were taken from peers. */
export const availableRows = (speakers: readonly NamedSpeaker[]): BgpRouteRow[] =>
  speakers.flatMap(({ name, speaker }) => {
    const { localAS } = speaker.status();
    return [...speaker.routes().values()].flatMap((routes) =>
      routes.map((route, i) => ({
        instance: name,
        localASN: localAS,
        peer: route.teller.source === 'local' ? null : route.teller.name,
        prefix: route.prefix,
        nextHop: route.nextHop?.address ?? null,
        best: i === 0,
        ...attributesRow(route.attributes),
      })),
    );
  });

export const advertisedRows = (speakers: readonly NamedSpeaker[]): BgpRouteRow[] =>
  speakers.flatMap(({ name, speaker }) => {
    const { localAS } = speaker.status();
    return [...speaker.told()].flatMap(([peer, told]) =>
      [...told].map(([prefix, { attributes, nextHop }]) => ({
        instance: name,
        localASN: localAS,
        peer,
        prefix,
        nextHop: nextHop.address,
        best: true,
        ...attributesRow(attributes),
      })),
    );
  });

export function overviewOf(
  speakers: readonly NamedSpeaker[],
  problems: readonly string[],
  now: number,
): BgpOverview {
  const rows = peerRows(speakers, now);
  return {
    peers: rows.length,
    down: rows
      .filter(({ state }) => state !== 'established')
      .map(({ instance, peer, peerAddress, state, lastError }) => ({
        instance,
        peer,
        address: peerAddress,
        state,
        why: lastError?.text ?? null,
      })),
    problems,
  };
}
