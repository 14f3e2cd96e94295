/**
 * How many entries the maps of a node hold. Tables of what was learned (LRU: taken whole at once, and what does not fit
 * pushes out the longest unused) get a share of the machine's memory, which all its nodes divide. Tables of what the
 * agent writes always have room for 10,000 services with 3 endpoints each and 10,000 policies, in both families.
 */

/** Of the machine's memory, for what all its nodes learn; also what the field has as its default. */
export const MAP_MEMORY_SHARE = 0.0025;

export interface Machine {
  /** Bytes. */
  readonly memory: number;
  /** That it runs. */
  readonly nodes: number;
  /** 0 to 1. Default `MAP_MEMORY_SHARE`, and then a node that has its machine alone gets half of the usual sizes at least. */
  readonly share?: number | undefined;
}

/** Entries at scale 1, as the objects say; what they take there is `LEARNED_BYTES`. */
const LEARNED = {
  flows4: 65_536,
  flows6: 65_536,
  crowd4: 16_384,
  crowd6: 16_384,
  cut_flows: 16_384,
  nat4: 131_072,
  nat6: 131_072,
  nat_shares: 65_536,
  udp_sessions: 65_536,
  udp_peers: 65_536,
  affinities: 65_536,
  sources: 65_536,
  fragments: 8_192,
  uplink_fragments: 8_192,
} as const;

/** Of those above, at scale 1, with two CPUs. A test holds it to what the kernel takes. */
export const LEARNED_BYTES = 121e6;

/** A socket's pod keeps 1,024 translated connections (edge/lower.ts), and 1,024 new flows in 30 s (core/part.ts). */
const LEAST = 1 / 8;
const LEAST_ALONE = 1 / 2;
const MOST = 8;

/** Where nodes share a machine. An entry that a hash map might have takes 16 bytes; those that are there cost their own. */
const WRITTEN_IN_LITTLE = {
  frontends: 65_536,
  backends: 131_072,
  identity_hosts: 65_536,
  // Two copies: 10,000 policies of one node's pods over 1,000 identities take a third of it.
  policy_entries: 131_072,
  socket_services: 32_768,
  // Of pods, by link.
  nat_users: 1_024,
  flow_budgets: 1_024,
  neighbour_budgets: 1_024,
} as const;

export const LEARNED_MAPS: readonly string[] = Object.keys(LEARNED);

/** What `openPrograms` takes as `maxEntries`: powers of two, so that a little more memory changes no map. */
export function mapSizes({ memory, nodes, share }: Machine): Record<string, number> {
  const least = share === undefined && nodes === 1 ? LEAST_ALONE : LEAST;
  const wanted = ((share ?? MAP_MEMORY_SHARE) * memory) / nodes / LEARNED_BYTES;
  const scale = Math.min(MOST, Math.max(least, 2 ** Math.round(Math.log2(wanted))));
  return {
    ...Object.fromEntries(Object.entries(LEARNED).map(([name, entries]) => [name, entries * scale])),
    ...(scale < LEAST_ALONE && WRITTEN_IN_LITTLE),
  };
}
