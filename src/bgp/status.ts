/** What a speaker says of itself. */
import type { PeerError, PeerState } from './session/peer.ts';
import type { AddressFamily } from './wire/codes.ts';

export interface NeighbourStatus {
  readonly name: string;
  readonly address: string;
  readonly peerAS: number;
  readonly localAS: number;
  readonly state: PeerState;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly lastError: PeerError | undefined;
  /** Sessions that were established and ended. */
  readonly restarts: number;
  /** Of the session that is established. */
  readonly families: readonly AddressFamily[];
  /** Seconds. */
  readonly holdTime: number | undefined;
  readonly keepAliveTime: number | undefined;
  readonly peerIdentifier: string | undefined;
  readonly prefixes: {
    readonly received: number;
    readonly used: number;
    /** Kept over a restart of the peer. */
    readonly stale: number;
    readonly sent: number;
  };
  /** Prefixes by family. */
  readonly perFamily: Readonly<Record<AddressFamily, { readonly received: number; readonly sent: number }>>;
  readonly updates: {
    readonly received: number;
    /** Malformed attributes whose routes counted as withdrawn (RFC 7606). */
    readonly withdrawnByError: number;
    readonly attributesDiscarded: number;
    readonly lastProblem: string | undefined;
  };
  /** Families of which nothing could be told: this end has no address in them on the session's link. */
  readonly withoutNextHop: readonly AddressFamily[];
}

export interface SpeakerStatus {
  readonly localAS: number;
  readonly routerId: string;
  /** The speaker has restarted, and waits for its peers before it removes what is old. */
  readonly isDeferring: boolean;
  readonly peers: readonly NeighbourStatus[];
  /** Prefixes in use: own and learned. */
  readonly routes: number;
  /** Of those, learned ones in the kernel. */
  readonly installed: number;
  /** Times that the kernel would not take a route. */
  readonly installFailures: number;
  /** Connections from addresses that are no peer's. */
  readonly strangers: number;
}
