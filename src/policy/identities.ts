/**
 * Sorts every possible peer into classes: two peers are of one class if and only if the same peer terms of the
 * compiled rules hold for them, and egress port names mean the same ports on them. A class has an identity.
 */
import type { NamedPorts } from './named-ports.ts';

export interface PeerClass {
  readonly identity: number;
  /** Texts of the peer terms that hold. */
  readonly terms: ReadonlySet<string>;
  /** What the port names of egress rules mean at this peer. */
  readonly named: NamedPorts;
}

export interface Identities {
  readonly prefixes: ReadonlyMap<string, number>;
  /** All classes but that of identity 0, ordered by identity. */
  readonly classes: readonly PeerClass[];
}
