/** One peer: its machine, what it told, what it is told, and its restarts (RFC 4724 section 4.2). */
import type { Log } from '../lib/log.ts';
import {
  familiesOf,
  isExternal,
  keepsOverRestart,
  localAsOf,
  type PeerConfig,
  type SpeakerConfig,
} from './config.ts';
import type { NextHops } from './next-hops.ts';
import { type AdjOut, createAdjOut, type ToldRoute } from './rib/adj-out.ts';
import { acceptAll, acceptLocal, compileFilter, rejectAll, rejectsAll } from './rib/filter.ts';
import type { Route, Teller } from './rib/route.ts';
import type { Rib } from './rib/table.ts';
import { createPeerMachine, type PeerMachine } from './session/peer.ts';
import {
  cease,
  type Ending,
  type Negotiated,
  type Session,
  type SessionSettings,
} from './session/session.ts';
import type { NeighbourStatus } from './status.ts';
import type { Timers } from './timers.ts';
import type { Wire } from './transport.ts';
import { firstAs, type NextHop } from './wire/attributes.ts';
import type { AddressFamily } from './wire/codes.ts';
import type { Notification } from './wire/notification.ts';
import type { Announcement, Update } from './wire/update-decode.ts';

export interface NeighbourDeps {
  config: SpeakerConfig;
  peer: PeerConfig;
  rib: Rib;
  nextHops: NextHops;
  dial(signal: AbortSignal): Promise<Wire>;
  dialHint(): string | undefined;
  /** This speaker has restarted and waits for its peers. */
  isDeferring(): boolean;
  /** The kernel has kept forwarding over our last restart. */
  forwardingKept: boolean;
  /** An End-of-RIB, or a session that came or went. */
  onProgress(): void;
  timers: Timers;
  random(): number;
  log: Log;
}

export interface Neighbour {
  readonly peer: PeerConfig;
  readonly machine: Pick<PeerMachine, 'start' | 'accept'>;
  /** The best route to a prefix has changed. */
  offer(prefix: string, best: Route | undefined): void;
  /** Tells what was offered. */
  flush(): void;
  /** The peer has told all it has. */
  readonly hasEnded: boolean;
  /** It does not say when it has told all, or not before it has heard all of us: it has restarted too. */
  readonly waitsForUs: boolean;
  /** Whether anything that it tells may be used. */
  readonly imports: boolean;
  /** Other filters and limits, in the session that stands. */
  retune(peer: PeerConfig): void;
  /** What it has been told. */
  told(): ReadonlyMap<string, ToldRoute>;
  reset(notification: Notification): void;
  /** For good. Without a notification the peer may keep our routes; `forget`: what it told goes. */
  stop(notification: Notification | undefined, forget: boolean): void;
  status(): NeighbourStatus;
}

export function createNeighbour(deps: NeighbourDeps): Neighbour {
  const { config, rib, nextHops, timers, log } = deps;
  let { peer } = deps;
  const external = isExternal(config, peer);
  const localAs = localAsOf(config, peer);
  const importOf = () => peer.importFilter ?? (external ? rejectAll : acceptAll);
  let importFilter = compileFilter(importOf());
  let exportFilter = compileFilter(peer.exportFilter ?? acceptLocal);
  let out: AdjOut | undefined;
  const ended = new Set<AddressFamily>();
  let staleFamilies: readonly AddressFamily[] = [];
  let cancelStale = () => {};
  const updates = { received: 0, withdrawnByError: 0, attributesDiscarded: 0 };
  let lastProblem: string | undefined;

  function settings(): SessionSettings {
    const families = familiesOf(peer);
    const { enabled = true, restartTimeSeconds = 120 } = peer.gracefulRestart ?? {};
    const forwarding = deps.forwardingKept;
    return {
      peerAs: peer.peerASN,
      families,
      keepAliveSeconds: peer.timers?.keepAliveTimeSeconds,
      open: {
        as: localAs,
        holdTime: peer.timers?.holdTimeSeconds ?? 90,
        identifier: config.routerId,
        capabilities: {
          families,
          routeRefresh: true,
          fourOctetAs: localAs,
          extendedNextHop: peer.extendedNextHop ?? false,
          unknown: [],
          gracefulRestart: enabled
            ? {
                restarting: deps.isDeferring(),
                restartTime: restartTimeSeconds,
                families: families.map((family) => ({ family, forwarding })),
              }
            : undefined,
        },
      },
    };
  }

  function stopWaiting(): void {
    cancelStale();
    cancelStale = () => {};
  }

  function onUp(session: Session): void {
    const negotiated = session.negotiated;
    if (!negotiated) return;
    stopWaiting();
    ended.clear();
    rib.addPeer(tellerOf(negotiated), importFilter);
    keepOrSweep(negotiated);
    out = outFor(session, negotiated);
    for (const [prefix, [best]] of rib.used()) out.offer(prefix, best);
    out.endOfRib();
    flush();
    log.info('BGP session is up', { peer: peer.name, families: negotiated.families });
    deps.onProgress();
  }

  const tellerOf = ({ peerIdentifier, peerAs }: Negotiated): Teller => ({
    name: peer.name,
    source: external ? 'external' : 'internal',
    address: peer.peerAddress,
    identifier: peerIdentifier,
    localAs,
    as: peerAs,
  });

  /** What was kept over the peer's restart: of families that it does not say it kept forwarding, it goes now. */
  function keepOrSweep({ gracefulRestart, families }: Negotiated): void {
    for (const family of familiesOf(peer)) if (!families.includes(family)) rib.forget(peer.name, family);
    const kept = new Set(gracefulRestart?.families.flatMap((one) => (one.forwarding ? [one.family] : [])));
    for (const family of staleFamilies) if (!kept.has(family)) rib.sweep(peer.name, family);
    staleFamilies = staleFamilies.filter((family) => kept.has(family));
    if (staleFamilies.length === 0) return;
    const seconds = peer.gracefulRestart?.stalePathTimeSeconds ?? 360;
    cancelStale = timers.after(seconds * 1000, () => {
      log.warn('BGP peer has not told all its routes after its restart', { peer: peer.name, seconds });
      staleFamilies = [];
      rib.sweep(peer.name);
    });
  }

  function outFor(session: Session, negotiated: Negotiated): AdjOut {
    return createAdjOut({
      peer: peer.name,
      external,
      localAs,
      families: negotiated.families,
      fourOctetAs: negotiated.fourOctetAs,
      extendedNextHop: negotiated.extendedNextHop,
      nextHopSelf: peer.nextHopSelf ?? false,
      filter: (subject) => exportFilter(subject),
      self: (family) => selfAsNextHop(session.wire.localAddress, family, negotiated.extendedNextHop),
      send: session.send,
      pending: () => session.wire.pending,
    });
  }

  function selfAsNextHop(local: string, family: AddressFamily, extended: boolean): NextHop | undefined {
    const said = peer.nextHop?.[family];
    if (said !== undefined) return { address: said };
    const link = nextHops.linkOf(local);
    const isSessionFamily = local.includes(':') === (family === 'ipv6');
    if (isSessionFamily && family === 'ipv4') return { address: local };
    const onLink = link === undefined ? undefined : nextHops.addressOn(link, family);
    if (isSessionFamily) return { ...onLink, address: local };
    return onLink ?? (extended && family === 'ipv4' ? { address: local } : undefined);
  }

  function onDown(session: Session, ending: Ending, restarted: boolean): void {
    log.warn('BGP session is down', { peer: peer.name, why: ending.text });
    out = undefined;
    stopWaiting();
    const { gracefulRestart, families = [] } = session.negotiated ?? {};
    if (ending.kind !== 'lost' || !gracefulRestart || !keepsOverRestart(peer)) {
      staleFamilies = [];
      rib.forget(peer.name);
    } else {
      const kept = gracefulRestart.families
        .map(({ family }) => family)
        .filter((one) => families.includes(one));
      keepStale(kept, restarted ? undefined : gracefulRestart.restartTime);
    }
    deps.onProgress();
  }

  /** `seconds`: for how long, where the peer is not back yet. */
  function keepStale(kept: readonly AddressFamily[], seconds: number | undefined): void {
    // Two restarts in a row: what the first one left has had its time.
    rib.sweep(peer.name);
    for (const family of ['ipv4', 'ipv6'] as const) if (!kept.includes(family)) rib.forget(peer.name, family);
    rib.markStale(peer.name, kept);
    staleFamilies = kept;
    if (seconds === undefined) return;
    cancelStale = timers.after(seconds * 1000, () => {
      log.warn('BGP peer has not come back in the time it asked for', { peer: peer.name, seconds });
      staleFamilies = [];
      rib.forget(peer.name);
    });
  }

  function onUpdate(session: Session, update: Update): void {
    updates.received++;
    for (const { approach, attribute, detail } of update.problems) {
      if (approach === 'withdraw') updates.withdrawnByError++;
      else updates.attributesDiscarded++;
      lastProblem = `${attribute}: ${detail} (${approach === 'withdraw' ? 'treat-as-withdraw' : 'attribute discard'})`;
      log.warn('BGP peer sent a malformed attribute', { peer: peer.name, attribute, detail, approach });
    }
    for (const prefix of update.withdrawn) rib.withdraw(peer.name, prefix);
    for (const announcement of update.announced) announce(session, announcement, update);
    if (update.endOfRib) onEndOfRib(update.endOfRib);
    limitPrefixes(session);
  }

  function announce(
    session: Session,
    { family, nextHop, prefixes }: Announcement,
    { attributes }: Update,
  ): void {
    if (!attributes || !session.negotiated?.families.includes(family)) return;
    const foreign = external && (peer.enforceFirstAS ?? true) && firstAs(attributes.asPath) !== peer.peerASN;
    if (foreign) {
      updates.withdrawnByError++;
      lastProblem = `AS_PATH: does not begin with ${peer.peerASN} (treat-as-withdraw)`;
    }
    for (const prefix of prefixes) {
      if (foreign) rib.withdraw(peer.name, prefix);
      else rib.announce(peer.name, prefix, attributes, nextHop);
    }
  }

  function onEndOfRib(family: AddressFamily): void {
    ended.add(family);
    if (staleFamilies.includes(family)) {
      rib.sweep(peer.name, family);
      staleFamilies = staleFamilies.filter((one) => one !== family);
      if (staleFamilies.length === 0) stopWaiting();
    }
    deps.onProgress();
  }

  function limitPrefixes(session: Session): void {
    const most = peer.maxPrefixes;
    if (most === undefined) return;
    const { total } = rib.count(peer.name);
    if (total > most) session.close(cease('MAX_PREFIXES'));
  }

  /** What is being decided is told with the rest: after End-of-RIB a peer forgets what it was not told. */
  function flush(): void {
    if (!deps.isDeferring() && rib.isSettled) out?.flush();
  }

  function retune(now: PeerConfig): void {
    peer = now;
    importFilter = compileFilter(importOf());
    exportFilter = compileFilter(peer.exportFilter ?? acceptLocal);
    const session = machine.established;
    if (!session?.negotiated) return;
    rib.addPeer(tellerOf(session.negotiated), importFilter);
    for (const [prefix, [best]] of rib.used()) out?.offer(prefix, best);
    flush();
    limitPrefixes(session);
  }

  const machine = createPeerMachine({
    settings,
    localIdentifier: config.routerId,
    passive: peer.passive ?? false,
    connectRetryMs: (peer.timers?.connectRetryTimeSeconds ?? 120) * 1000,
    dial: deps.dial,
    dialHint: deps.dialHint,
    timers,
    random: deps.random,
    events: {
      onUp,
      onDown,
      onUpdate,
      onDrain: flush,
      onRefresh: (_session, family) => {
        out?.refresh(family, rib.used());
        flush();
      },
      onState: (state) => log.debug('BGP peer changes state', { peer: peer.name, state }),
    },
  });

  return {
    get peer() {
      return peer;
    },
    get imports() {
      return !rejectsAll(importOf());
    },
    retune,
    told: () => out?.told() ?? new Map(),
    machine,
    offer: (prefix, best) => out?.offer(prefix, best),
    flush,
    get hasEnded() {
      return machine.established?.negotiated?.families.every((family) => ended.has(family)) ?? false;
    },
    get waitsForUs() {
      const negotiated = machine.established?.negotiated;
      return negotiated !== undefined && (negotiated.gracefulRestart?.restarting ?? true);
    },
    reset: (notification) => machine.reset(notification),
    stop(notification, forget) {
      machine.stop(notification);
      stopWaiting();
      if (forget) rib.forget(peer.name);
    },
    status() {
      const { state, since, lastError, restarts, established } = machine;
      const counts = rib.count(peer.name);
      const { families = [], holdTime, peerIdentifier } = established?.negotiated ?? {};
      const sent = out?.counts() ?? { ipv4: 0, ipv6: 0 };
      const keepAlive = peer.timers?.keepAliveTimeSeconds ?? Infinity;
      return {
        name: peer.name,
        address: peer.peerAddress,
        peerAS: peer.peerASN,
        localAS: localAs,
        state,
        since,
        lastError,
        restarts,
        families,
        holdTime,
        keepAliveTime: holdTime === undefined ? undefined : Math.min(holdTime / 3, keepAlive),
        peerIdentifier,
        prefixes: { received: counts.total, used: counts.used, stale: counts.stale, sent: out?.count() ?? 0 },
        perFamily: {
          ipv4: { received: counts.families.ipv4, sent: sent.ipv4 },
          ipv6: { received: counts.families.ipv6, sent: sent.ipv6 },
        },
        updates: { ...updates, lastProblem },
        withoutNextHop: [...(out?.withoutNextHop ?? [])],
      };
    },
  };
}
