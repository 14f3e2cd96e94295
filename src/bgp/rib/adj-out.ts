/** What one peer is told (Adj-RIB-Out): by whom from whom, with which attributes, in as few messages as it takes. */
import { type NextHop, type PathAttributes, prepend, WELL_KNOWN } from '../wire/attributes.ts';
import { type AddressFamily, familyOfPrefix } from '../wire/codes.ts';
import { encodeAnnouncement, encodeEndOfRib, encodeWithdrawal } from '../wire/update-encode.ts';
import { localPrefOf } from './decision.ts';
import type { CompiledFilter } from './filter.ts';
import type { Route } from './route.ts';

export interface AdjOutDeps {
  peer: string;
  external: boolean;
  localAs: number;
  families: readonly AddressFamily[];
  fourOctetAs: boolean;
  filter: CompiledFilter;
  /** This end as a next hop for the family; undefined where it has no address that the peer could use. */
  self(family: AddressFamily): NextHop | undefined;
  /** IPv4 routes with a next hop of IPv6. */
  extendedNextHop: boolean;
  nextHopSelf: boolean;
  send(message: Uint8Array): void;
  /** Octets that the peer has not read yet. */
  pending(): number;
}

export interface AdjOut {
  /** The best route to a prefix has changed; undefined where there is none. Nothing is sent before `flush`. */
  offer(prefix: string, route: Route | undefined): void;
  /** Tells what has changed; false where the peer does not keep up and the rest waits for the next call. */
  flush(): boolean;
  /** Tells everything of a family once more (RFC 2918). */
  refresh(family: AddressFamily, used: Iterable<readonly [string, readonly Route[]]>): void;
  /** After everything that was offered so far. */
  endOfRib(): void;
  count(): number;
  /** By family. */
  counts(): Record<AddressFamily, number>;
  /** What the peer has been told, by prefix. */
  told(): ReadonlyMap<string, ToldRoute>;
  /** Families of which nothing can be told for want of a next hop. */
  readonly withoutNextHop: ReadonlySet<AddressFamily>;
}

export interface ToldRoute {
  readonly attributes: PathAttributes;
  readonly nextHop: NextHop;
}

interface Told extends ToldRoute {
  /** Routes of the same key go into one message. */
  readonly key: string;
}

/** Octets in the socket beyond which a peer is behind. */
const MOST_PENDING = 1 << 20;

export function createAdjOut(deps: AdjOutDeps): AdjOut {
  const told = new Map<string, Told>();
  const changed = new Map<string, Told | undefined>();
  const withoutNextHop = new Set<AddressFamily>();
  let endsOwed = false;

  function translate(prefix: string, route: Route): Told | undefined {
    const family = familyOfPrefix(prefix);
    if (!deps.families.includes(family) || !mayTell(route, deps)) return undefined;
    const attributes = attributesFor(route, deps);
    const nextHop = attributes && nextHopFor(route, family);
    if (!attributes || !nextHop) return undefined;
    return { attributes, nextHop, key: JSON.stringify([family, nextHop, attributes]) };
  }

  function nextHopFor(route: Route, family: AddressFamily): NextHop | undefined {
    const keep = !deps.external && route.teller.source === 'external' && !deps.nextHopSelf;
    const hop = keep ? route.nextHop : deps.self(family);
    const isUsable =
      hop &&
      (family === 'ipv6' ? hop.address.includes(':') : !hop.address.includes(':') || deps.extendedNextHop);
    if (isUsable) return hop;
    withoutNextHop.add(family);
    return undefined;
  }

  function offer(prefix: string, route: Route | undefined): void {
    const now = route && translate(prefix, route);
    if (now?.key === told.get(prefix)?.key) changed.delete(prefix);
    else changed.set(prefix, now);
  }

  function sendWithdrawals(prefixes: readonly string[]): void {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const gone = prefixes.filter((prefix) => familyOfPrefix(prefix) === family);
      if (gone.length > 0) encodeWithdrawal(family, gone).forEach(deps.send);
    }
  }

  /** What does not fit into a message is not told; what was told of it before is taken back. */
  function sendGroup({ attributes, nextHop }: Told, prefixes: readonly string[]): void {
    const family = familyOfPrefix(prefixes[0] ?? '');
    const messages = encodeAnnouncement({ family, nextHop, attributes, prefixes }, deps);
    messages.forEach(deps.send);
    if (messages.length > 0) return;
    sendWithdrawals(prefixes);
    for (const prefix of prefixes) told.delete(prefix);
  }

  function flush(): boolean {
    const gone: string[] = [];
    const groups = new Map<string, { told: Told; prefixes: string[] }>();
    for (const [prefix, now] of changed) {
      if (!now) {
        if (told.delete(prefix)) gone.push(prefix);
        continue;
      }
      told.set(prefix, now);
      const group = groups.get(now.key);
      if (group) group.prefixes.push(prefix);
      else groups.set(now.key, { told: now, prefixes: [prefix] });
    }
    changed.clear();
    sendWithdrawals(gone);
    for (const group of groups.values()) sendGroup(group.told, group.prefixes);
    if (endsOwed) for (const family of deps.families) deps.send(encodeEndOfRib(family));
    endsOwed = false;
    return true;
  }

  return {
    offer,
    // A peer that does not read is told the newest state when it does, not every state on the way.
    flush: () => deps.pending() <= MOST_PENDING && flush(),
    refresh(family, used) {
      // No key is like it, so that all differs from what was told, and what is gone is still taken back.
      for (const [prefix, one] of told)
        if (familyOfPrefix(prefix) === family) told.set(prefix, { ...one, key: '' });
      for (const [prefix, [best]] of used) if (familyOfPrefix(prefix) === family) offer(prefix, best);
    },
    endOfRib: () => (endsOwed = true),
    count: () => told.size,
    counts() {
      const counts = { ipv4: 0, ipv6: 0 };
      for (const prefix of told.keys()) counts[familyOfPrefix(prefix)]++;
      return counts;
    },
    told: () => told,
    withoutNextHop,
  };
}

function mayTell({ teller, attributes, only }: Route, { peer, external }: AdjOutDeps): boolean {
  if (teller.name === peer) return false;
  if (only && !only.has(peer)) return false;
  // RFC 4271 section 9.2: internal peers hear it from whoever brought it in.
  if (teller.source === 'internal' && !external) return false;
  const { communities = [] } = attributes;
  if (teller.source === 'local') return true;
  if (communities.includes(WELL_KNOWN.NO_ADVERTISE)) return false;
  return (
    !external ||
    !(communities.includes(WELL_KNOWN.NO_EXPORT) || communities.includes(WELL_KNOWN.NO_EXPORT_SUBCONFED))
  );
}

/** Filtered, and with what belongs to one side of the border only taken off (RFC 4271 section 5.1). */
function attributesFor(
  route: Route,
  { peer, external, localAs, filter }: AdjOutDeps,
): PathAttributes | undefined {
  const { prefix, teller } = route;
  // MED of one neighbour is no business of another.
  const { med, ...shared } = route.only?.get(peer) ?? route.attributes;
  const before = external && teller.source !== 'local' ? shared : { ...shared, med };
  const attributes = filter({ prefix, attributes: before, source: teller.source, prependAs: localAs });
  if (!attributes) return undefined;
  const { localPref, originatorId, clusterList, ...rest } = attributes;
  if (external) return { ...rest, asPath: prepend(rest.asPath, localAs) };
  return { ...rest, originatorId, clusterList, localPref: localPref ?? localPrefOf(route) };
}
