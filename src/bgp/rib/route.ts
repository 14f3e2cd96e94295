/** A route in the speaker: what was heard of a prefix, from whom, and what came of it. */
import type { NextHop, PathAttributes } from '../wire/attributes.ts';
import type { AddressFamily } from '../wire/codes.ts';

export type Source = 'local' | 'internal' | 'external';

/** Who told it. */
export interface Teller {
  readonly name: string;
  readonly source: Source;
  readonly address: string;
  readonly identifier: string;
  /** This end's AS in the session. */
  readonly localAs: number;
  readonly as: number;
}

/** The way to a next hop, as the kernel has it. */
export interface Way {
  /** Undefined: the next hop itself is on the link. */
  readonly via: string;
  readonly dev: string;
  /** Of the route to the next hop; 0 where it is on a link. */
  readonly metric: number;
}

export interface Route {
  readonly prefix: string;
  readonly family: AddressFamily;
  readonly teller: Teller;
  readonly attributes: PathAttributes;
  /** Of routes of this speaker's own: the peers that are told, and with what. Absent: all, with `attributes`. */
  readonly only?: ReadonlyMap<string, PathAttributes> | undefined;
  /** Undefined for those of this speaker. */
  readonly nextHop: NextHop | undefined;
  readonly way: Way | undefined;
  /** RFC 4724: its teller is restarting and has not told it again. */
  readonly stale: boolean;
}
