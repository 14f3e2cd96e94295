/**
 * The routing information bases: what each peer told (Adj-RIB-In, before filters), and what is used (Loc-RIB). Changes
 * are gathered and decided in one go, in slices, so that a full table does not stop sessions.
 */
import type { NextHop, PathAttributes } from '../wire/attributes.ts';
import { pathHas } from '../wire/attributes.ts';
import { type AddressFamily, familyOfPrefix } from '../wire/codes.ts';
import { decide } from './decision.ts';
import type { CompiledFilter } from './filter.ts';
import { isMartian } from './martians.ts';
import type { Route, Teller, Way } from './route.ts';

interface Heard {
  readonly attributes: PathAttributes;
  readonly nextHop: NextHop;
  readonly stale: boolean;
}

interface Source {
  readonly teller: Teller;
  readonly filter: CompiledFilter;
  readonly heard: Map<string, Heard>;
}

export interface LocalRoute {
  readonly prefix: string;
  readonly attributes: PathAttributes;
  readonly only?: ReadonlyMap<string, PathAttributes>;
}

export interface RibCount {
  readonly total: number;
  readonly stale: number;
  readonly used: number;
  readonly families: Readonly<Record<AddressFamily, number>>;
}

export interface RibDeps {
  routerId: string;
  /** Most ways to a prefix. */
  multipath: number;
  /** Undefined: the next hop cannot be reached, so the route is not used. */
  resolve(nextHop: NextHop, route: { prefix: string; teller: Teller }): Way | undefined;
  /** `routes`: the best first; empty where there is none any more. */
  onChange(prefix: string, routes: readonly Route[], before: readonly Route[]): void;
  /** After a batch of `onChange`. */
  onSettled(): void;
  /** Runs `fn` soon, on a free turn. */
  soon(fn: () => void): void;
}

export interface Rib {
  /** Begins or goes on (after a graceful restart, with what was kept). */
  addPeer(teller: Teller, filter: CompiledFilter): void;
  announce(peer: string, prefix: string, attributes: PathAttributes, nextHop: NextHop): void;
  withdraw(peer: string, prefix: string): void;
  /** What was told stays in use until `sweep`. */
  markStale(peer: string, families: readonly AddressFamily[]): void;
  /** Removes what is stale still; how many that were. */
  sweep(peer: string, family?: AddressFamily): number;
  forget(peer: string, family?: AddressFamily): void;
  /** All that this speaker has of its own. */
  setLocal(routes: readonly LocalRoute[]): void;
  /** Next hops may resolve otherwise now. */
  reconsider(): void;
  /** Nothing is decided while it is held. */
  hold(held: boolean): void;
  /** Nothing waits to be decided. */
  readonly isSettled: boolean;
  count(peer: string): RibCount;
  used(): ReadonlyMap<string, readonly Route[]>;
}

const SLICE = 1000;

export function createRib(deps: RibDeps): Rib {
  const sources = new Map<string, Source>();
  let local = new Map<string, LocalRoute>();
  const used = new Map<string, readonly Route[]>();
  const dirty = new Set<string>();
  let isHeld = false;
  let isScheduled = false;
  const self: Teller = {
    name: 'local',
    source: 'local',
    address: '0.0.0.0',
    identifier: deps.routerId,
    localAs: 0,
    as: 0,
  };

  function touch(prefix: string): void {
    dirty.add(prefix);
    schedule();
  }

  function schedule(): void {
    if (isHeld || isScheduled || dirty.size === 0) return;
    isScheduled = true;
    deps.soon(work);
  }

  function work(): void {
    isScheduled = false;
    if (isHeld) return;
    let left = SLICE;
    for (const prefix of dirty) {
      if (left-- === 0) break;
      dirty.delete(prefix);
      choose(prefix);
    }
    schedule();
    deps.onSettled();
  }

  function choose(prefix: string): void {
    const before = used.get(prefix) ?? [];
    const now = decide(candidates(prefix), deps.multipath);
    if (sameRoutes(before, now)) return;
    if (now.length === 0) used.delete(prefix);
    else used.set(prefix, now);
    deps.onChange(prefix, now, before);
  }

  function candidates(prefix: string): Route[] {
    const routes: Route[] = [];
    const own = local.get(prefix);
    const family = familyOfPrefix(prefix);
    if (own)
      routes.push({
        prefix,
        family,
        teller: self,
        attributes: own.attributes,
        only: own.only,
        nextHop: undefined,
        way: undefined,
        stale: false,
      });
    for (const source of sources.values()) {
      const heard = source.heard.get(prefix);
      const route = heard && candidate(prefix, family, source, heard);
      if (route) routes.push(route);
    }
    return routes;
  }

  function candidate(
    prefix: string,
    family: AddressFamily,
    { teller, filter }: Source,
    heard: Heard,
  ): Route | undefined {
    if (isLoop(heard.attributes, teller) || isMartian(prefix)) return undefined;
    const attributes = filter({
      prefix,
      attributes: heard.attributes,
      source: teller.source,
      prependAs: teller.as,
    });
    const way = attributes && deps.resolve(heard.nextHop, { prefix, teller });
    if (!attributes || !way) return undefined;
    return { prefix, family, teller, attributes, nextHop: heard.nextHop, way, stale: heard.stale };
  }

  /** RFC 4271 section 9.1.2, RFC 4456 section 8. */
  const isLoop = ({ asPath, originatorId }: PathAttributes, { localAs }: Teller): boolean =>
    pathHas(asPath, localAs) || originatorId === deps.routerId;

  function* told(source: Source | undefined, family?: AddressFamily): Generator<[string, Heard]> {
    for (const entry of source?.heard ?? []) if (!family || familyOfPrefix(entry[0]) === family) yield entry;
  }

  function remove(peer: string, family: AddressFamily | undefined, which: (heard: Heard) => boolean): number {
    const source = sources.get(peer);
    let count = 0;
    for (const [prefix, heard] of told(source, family)) {
      if (!which(heard)) continue;
      source?.heard.delete(prefix);
      touch(prefix);
      count++;
    }
    return count;
  }

  return {
    addPeer(teller, filter) {
      const heard = sources.get(teller.name)?.heard ?? new Map<string, Heard>();
      sources.set(teller.name, { teller, filter, heard });
      for (const prefix of heard.keys()) touch(prefix);
    },
    announce(peer, prefix, attributes, nextHop) {
      sources.get(peer)?.heard.set(prefix, { attributes, nextHop, stale: false });
      touch(prefix);
    },
    withdraw(peer, prefix) {
      if (sources.get(peer)?.heard.delete(prefix)) touch(prefix);
    },
    markStale(peer, families) {
      const source = sources.get(peer);
      for (const family of families)
        for (const [prefix, heard] of told(source, family)) {
          source?.heard.set(prefix, { ...heard, stale: true });
          touch(prefix);
        }
    },
    sweep: (peer, family) => remove(peer, family, ({ stale }) => stale),
    forget(peer, family) {
      remove(peer, family, () => true);
      if (!family) sources.delete(peer);
    },
    setLocal(routes) {
      const before = local;
      local = new Map(routes.map((route) => [route.prefix, route]));
      for (const prefix of new Set([...before.keys(), ...local.keys()]))
        if (before.get(prefix) !== local.get(prefix)) touch(prefix);
    },
    reconsider() {
      for (const { heard } of sources.values()) for (const prefix of heard.keys()) dirty.add(prefix);
      schedule();
    },
    hold(held) {
      isHeld = held;
      schedule();
    },
    get isSettled() {
      return dirty.size === 0;
    },
    count(peer) {
      const counts = { total: 0, stale: 0, used: 0, families: { ipv4: 0, ipv6: 0 } };
      for (const [prefix, { stale }] of told(sources.get(peer))) {
        counts.total++;
        counts.families[familyOfPrefix(prefix)]++;
        if (stale) counts.stale++;
        if (used.get(prefix)?.some(({ teller }) => teller.name === peer)) counts.used++;
      }
      return counts;
    },
    used: () => used,
  };
}

function sameRoutes(a: readonly Route[], b: readonly Route[]): boolean {
  return a.length === b.length && a.every((route, i) => sameRoute(route, b[i]));
}

const sameRoute = (a: Route, b: Route | undefined): boolean =>
  b !== undefined &&
  a.teller === b.teller &&
  a.stale === b.stale &&
  a.way?.via === b.way?.via &&
  a.way?.dev === b.way?.dev &&
  a.nextHop?.address === b.nextHop?.address &&
  sameOnly(a.only, b.only) &&
  (a.attributes === b.attributes || JSON.stringify(a.attributes) === JSON.stringify(b.attributes));

const sameOnly = (a: Route['only'], b: Route['only']): boolean =>
  a === b || (a !== undefined && b !== undefined && JSON.stringify([...a]) === JSON.stringify([...b]));
