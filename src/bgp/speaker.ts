/** A BGP-4 speaker: peers, the routes that they and the caller have, and the kernel's table. */
import { isDeepStrictEqual } from 'node:util';
import type { Route as KernelRoute } from '../kernel/route.ts';
import type { Log } from '../lib/log.ts';
import { checkSpeakerConfig, isExternal, isRetuned, type PeerConfig, type SpeakerConfig } from './config.ts';
import { createFib, type Fib } from './fib.ts';
import { type Advertisement, localRoutes } from './local-routes.ts';
import { createNeighbour, type Neighbour } from './neighbour.ts';
import type { ToldRoute } from './rib/adj-out.ts';
import { createNextHops } from './next-hops.ts';
import type { Route } from './rib/route.ts';
import { createRib } from './rib/table.ts';
import { cease } from './session/session.ts';
import type { SpeakerStatus } from './status.ts';
import type { Timers } from './timers.ts';
import type { Transport, Wire } from './transport.ts';
import { compareBytes } from './order.ts';

export interface Speaker {
  /** Everything that peers are to be told; what was there before and is not here is withdrawn. */
  advertise(advertisements: readonly Advertisement[]): void;
  status(): SpeakerStatus;
  /** Prefixes in use, the best route first. */
  routes(): ReadonlyMap<string, readonly Route[]>;
  /**
   * Other peers, or the same with other settings. Sessions of peers whose settings are the same, or differ in filters
   * and limits alone, go on.
   * @throws HeddleError `BgpConfig`, `BgpFilter`, `TcpMd5`; then nothing has changed
   */
  update(peers: readonly PeerConfig[]): void;
  /** By peer, what it has been told. */
  told(): ReadonlyMap<string, ReadonlyMap<string, ToldRoute>>;
  /** Ends the session of a peer and begins it again, with words for its operator (RFC 9003). */
  reset(peer: string, words?: string): boolean;
  /**
   * `graceful`: sessions just break and the kernel keeps its routes, so that traffic goes on until the next process
   * is here (RFC 4724). Else peers are told, with `words`, and learned routes go. Resolves once the port is free.
   */
  close(options?: { graceful?: boolean; words?: string }): Promise<void>;
}

export interface SpeakerDeps {
  config: SpeakerConfig;
  transport: Transport;
  /** Of the namespace that the speaker routes for. */
  route: Pick<
    KernelRoute,
    | 'links'
    | 'link'
    | 'addresses'
    | 'routes'
    | 'routeTo'
    | 'replaceRoute'
    | 'replaceMultipath'
    | 'deleteRoute'
  >;
  /** Segments that the kernel dropped over TCP MD5, where it counts them. */
  md5Drops?: () => number | undefined;
  timers: Timers;
  random?: () => number;
  log: Log;
}

const DEFAULT_METRIC = 1179;
const RT_TABLE_MAIN = 254;

/** Starts at once. @throws HeddleError `BgpConfig`, `BgpFilter`; what listening fails with */
export function startSpeaker(deps: SpeakerDeps): Speaker {
  const { config, transport, route, timers, log, random = Math.random } = deps;
  checkSpeakerConfig(config);
  const { table = RT_TABLE_MAIN, metric = DEFAULT_METRIC, installRoutes = true } = config;
  const isOurs = (entry: { protocol: number; metric: number }) =>
    entry.protocol === 72 && entry.metric === metric;
  const nextHops = createNextHops(route, isOurs);
  const fib: Fib = createFib(route, { table, metric, log });
  const restarting =
    config.restarting ?? route.routes().some((entry) => isOurs(entry) && entry.table === table);
  let isDeferring = restarting;
  /** What an earlier process left in the kernel stays, until those who would tell it again have told all. */
  let isOldKept = restarting;
  let sweepOwed = true;
  let isClosed = false;
  let strangers = 0;
  const neighbours = new Map<string, Neighbour>();

  const rib = createRib({
    routerId: config.routerId,
    multipath: config.multipath ?? 1,
    resolve(nextHop, { prefix, teller }) {
      const peer = neighbours.get(teller.name)?.peer;
      const connected = teller.source === 'external' && (peer?.ebgpMultihop ?? 1) === 1;
      return nextHops.resolve(nextHop, { link: peer && linkOf(peer), connected, prefix });
    },
    onChange(prefix, routes, before) {
      if (installRoutes && !sameHops(routes, before)) fib.set(prefix, hopsOf(routes));
      for (const neighbour of neighbours.values()) neighbour.offer(prefix, routes[0]);
    },
    onSettled: settle,
    soon: (fn) => void timers.after(0, () => !isClosed && fn()),
  });

  /** Of the peer's own address: where its link-local next hops are. */
  function linkOf(peer: PeerConfig): string | undefined {
    if (peer.interface !== undefined) return peer.interface;
    const way = nextHops.resolve(
      { address: peer.peerAddress },
      { link: undefined, connected: false, prefix: '0.0.0.0/32' },
    );
    return way?.metric === 0 ? way.dev : undefined;
  }

  function settle(): void {
    if (isDeferring || !rib.isSettled) return;
    if (sweepOwed && !isOldKept) sweep();
    for (const neighbour of neighbours.values()) neighbour.flush();
  }

  function sweep(): void {
    sweepOwed = false;
    const removed = installRoutes ? fib.sweep() : 0;
    if (removed > 0) log.info('routes of an earlier BGP process were removed', { removed });
  }

  /** RFC 4724 section 4.1: selection waits until every peer has told all, but for those that wait for us. */
  function progress(): void {
    // Of whom nothing is taken there is nothing to wait for.
    const all = [...neighbours.values()].filter(({ imports }) => imports);
    if (isOldKept && all.every((neighbour) => neighbour.hasEnded)) isOldKept = false;
    if (isDeferring && all.every((neighbour) => neighbour.hasEnded || neighbour.waitsForUs))
      isDeferring = false;
    goOn();
  }

  function goOn(): void {
    rib.hold(isDeferring);
    settle();
  }

  function endDeferral(): void {
    isDeferring = false;
    isOldKept = false;
    goOn();
  }

  function ttlOf(peer: PeerConfig) {
    if (peer.ttlSecurity) return { send: 255, least: 255 };
    return isExternal(config, peer) ? { send: peer.ebgpMultihop ?? 1 } : undefined;
  }

  const byAddress = (address: string) =>
    [...neighbours.values()].find(({ peer }) => compareBytes(peer.peerAddress, address) === 0);

  function onWire(wire: Wire): void {
    const neighbour = byAddress(wire.remoteAddress);
    if (neighbour) return neighbour.machine.accept(wire);
    strangers++;
    log.warn('a BGP connection came from an address that is no peer’s', { address: wire.remoteAddress });
    wire.close();
  }

  function add(peer: PeerConfig): Neighbour {
    let dropsBefore: number | undefined;
    const neighbour = createNeighbour({
      config,
      peer,
      rib,
      nextHops,
      timers,
      random,
      log,
      isDeferring: () => isDeferring,
      forwardingKept: restarting,
      onProgress: progress,
      dial(signal) {
        dropsBefore = deps.md5Drops?.();
        return transport.dial(peer, ttlOf(peer), signal);
      },
      dialHint: () => md5Hint(peer, dropsBefore, deps.md5Drops?.()),
    });
    neighbours.set(peer.name, neighbour);
    return neighbour;
  }

  for (const peer of config.peers) add(peer);
  rib.hold(isDeferring);
  const port = config.localPort ?? 179;
  const listening =
    port === 0
      ? undefined
      : transport.listen({
          addresses: config.listenAddresses ?? ['0.0.0.0', '::'],
          port,
          peers: config.peers,
          ttlOf: (address) => {
            const found = byAddress(address);
            return found && ttlOf(found.peer);
          },
          onWire,
        });
  const deferralMs = (config.selectionDeferralSeconds ?? 120) * 1000;
  const cancelDeferral = isDeferring ? timers.after(deferralMs, endDeferral) : () => {};
  let cancelScan = () => {};
  const scan = () => {
    if (nextHops.look()) rib.reconsider();
    if (installRoutes && !isDeferring) fib.verify();
    cancelScan = timers.after((config.scanSeconds ?? 5) * 1000, scan);
  };
  cancelScan = timers.after((config.scanSeconds ?? 5) * 1000, scan);
  for (const neighbour of neighbours.values()) neighbour.machine.start();
  // What a process before left goes also where no peer ever tells anything.
  timers.after(0, settle);

  function update(peers: readonly PeerConfig[]): void {
    checkSpeakerConfig({ ...config, peers });
    listening?.setPeers(peers);
    const wanted = new Map(peers.map((peer) => [peer.name, peer]));
    for (const [name, neighbour] of neighbours) {
      const peer = wanted.get(name);
      if (peer && isRetuned(peer, neighbour.peer)) continue;
      neighbours.delete(name);
      neighbour.stop(cease(peer ? 'CONFIGURATION_CHANGE' : 'DECONFIGURED'), true);
    }
    for (const peer of peers) {
      const neighbour = neighbours.get(peer.name);
      if (!neighbour) add(peer).machine.start();
      else if (!isDeepStrictEqual(peer, neighbour.peer)) neighbour.retune(peer);
    }
    progress();
  }

  return {
    advertise: (advertisements) => rib.setLocal(localRoutes(advertisements)),
    update,
    told: () => new Map([...neighbours].map(([name, neighbour]) => [name, neighbour.told()])),
    routes: () => rib.used(),
    reset(name, words) {
      const neighbour = neighbours.get(name);
      neighbour?.reset(cease('RESET', words));
      return neighbour !== undefined;
    },
    status: () => ({
      localAS: config.localASN,
      routerId: config.routerId,
      isDeferring,
      peers: [...neighbours.values()].map((neighbour) => neighbour.status()),
      routes: rib.used().size,
      installed: fib.size,
      installFailures: fib.failures,
      strangers,
    }),
    async close({ graceful = false, words } = {}) {
      if (isClosed) return;
      isClosed = true;
      cancelScan();
      cancelDeferral();
      for (const neighbour of neighbours.values())
        neighbour.stop(graceful ? undefined : cease('SHUTDOWN', words), false);
      if (!graceful && installRoutes) fib.clear();
      await listening?.close();
    },
  };
}

const hopsOf = (routes: readonly Route[]) =>
  routes.flatMap(({ way, teller }) =>
    way && teller.source !== 'local' ? [{ via: way.via, dev: way.dev }] : [],
  );

const sameHops = (a: readonly Route[], b: readonly Route[]) =>
  JSON.stringify(hopsOf(a)) === JSON.stringify(hopsOf(b));

/** TCP MD5 fails in silence: what the kernel counts is all there is. */
function md5Hint(
  { password }: PeerConfig,
  before: number | undefined,
  now: number | undefined,
): string | undefined {
  if (before !== undefined && now !== undefined && now > before)
    return 'the kernel dropped segments over TCP MD5 (RFC 2385): the passwords differ, or one end has none';
  if (password === undefined) return 'nothing answers there, or the peer expects a TCP MD5 password';
  return 'nothing answers there, or the peer has another TCP MD5 password or none';
}
