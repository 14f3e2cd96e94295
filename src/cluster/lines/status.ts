import type { PlaceLink } from './places.ts';
import type { PairCounters } from './switch.ts';

/** What the process that carries frames between zones answers to GET /status. */
export interface LinesStatus {
  readonly links: readonly PlaceLink[];
  readonly counters: readonly PairCounters[];
}
