/**
 * A DNS server on given addresses, UDP and TCP. An address that is not there yet, or is taken, is tried again
 * until it can be had; what listens already answers meanwhile.
 */
import { createBackoff } from '../lib/backoff.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { errnoCode, errorText } from '../lib/errors.ts';
import { formatHostPort } from '../lib/ip.ts';
import type { Log } from '../lib/log.ts';
import { aborted } from '../lib/signals.ts';
import type { Next } from './chain.ts';
import { createResponder, type Transport } from './respond.ts';
import { listenTcp } from './tcp.ts';
import { listenUdp } from './udp.ts';

export interface DnsServerOptions {
  addresses: readonly string[];
  /** Default 53; 0 lets the kernel choose one each. */
  port?: number;
  handler: Next;
  log: Log;
  clock?: Clock;
  /** Queries that may wait for an answer at once; more are dropped. Default 1,000. */
  maxInFlight?: number;
  /** Milliseconds without a byte after which a TCP connection is cut. Default 10,000. */
  tcpIdleMs?: number;
}

export interface DnsStats {
  /** `udp 0` → responses by UDP with the code 0. */
  readonly responses: ReadonlyMap<string, number>;
  /** No query, or cut off before its header's end. */
  readonly malformed: number;
  /** Dropped for too many in flight. */
  readonly overload: number;
}

export interface Listening {
  readonly address: string;
  readonly transport: Transport;
  readonly port: number;
}

export interface DnsServer {
  /** Serves until the signal; then everything is closed. */
  run(signal: AbortSignal): Promise<void>;
  /** What listens now. */
  listening(): readonly Listening[];
  /** Resolves once every address has listened by UDP and TCP. */
  ready(): Promise<void>;
  stats(): DnsStats;
}

/** What a transport hands its bytes to. */
export interface Service {
  handle(
    data: Uint8Array,
    transport: Transport,
    client: string,
  ): Buffer | undefined | Promise<Buffer | undefined>;
}

/** One open socket of a transport. */
export interface Listener {
  readonly port: number;
  /** Resolves with the error that ended it. */
  readonly failed: Promise<unknown>;
  close(): void;
}

export function createDnsServer(options: DnsServerOptions): DnsServer {
  const { addresses, port = 53, log, clock = systemClock, tcpIdleMs = 10_000 } = options;
  const meter = createMeter();
  const service = createService(options, meter);
  const open = new Set<Listening>();
  const pending = new Set(addresses.flatMap((address) => [`udp ${address}`, `tcp ${address}`]));
  const ready = Promise.withResolvers<void>();

  const listen = (transport: Transport, address: string): Promise<Listener> =>
    transport === 'udp' ? listenUdp(service, address, port) : listenTcp(service, address, port, tcpIdleMs);

  async function serve(transport: Transport, address: string, ended: Promise<unknown>): Promise<unknown> {
    const listener = await listen(transport, address);
    const entry: Listening = { address, transport, port: listener.port };
    open.add(entry);
    pending.delete(`${transport} ${address}`);
    if (pending.size === 0) ready.resolve();
    try {
      return await Promise.race([listener.failed, ended]);
    } finally {
      open.delete(entry);
      listener.close();
    }
  }

  async function keep(transport: Transport, address: string, signal: AbortSignal): Promise<void> {
    const ended = aborted(signal);
    const backoff = createBackoff(50, 2000);
    const where = `${transport} ${formatHostPort(address, port)}`;
    let said: string | undefined;
    while (!signal.aborted) {
      const error = await serve(transport, address, ended).catch((caught: unknown) => caught);
      if (signal.aborted) return;
      // An address that comes later is normal at start: each reason is said once.
      const reason = errnoCode(error) ?? errorText(error);
      if (reason !== said) log.warn('DNS cannot listen yet', { where, error: errorText(error) });
      said = reason;
      await clock.sleep(backoff.next(), signal).catch(() => {});
    }
  }

  return {
    async run(signal) {
      await Promise.all(
        addresses.flatMap((address) => [keep('udp', address, signal), keep('tcp', address, signal)]),
      );
    },
    listening: () => [...open],
    ready: () => ready.promise,
    stats: meter.stats,
  };
}

type Meter = ReturnType<typeof createMeter>;

function createMeter() {
  const counts: Record<Transport, number[]> = { udp: [], tcp: [] };
  let malformed = 0;
  let overload = 0;
  return {
    response(transport: Transport, rcode: number): void {
      const list = counts[transport];
      list[rcode] = (list[rcode] ?? 0) + 1;
    },
    malformed: () => void malformed++,
    overload: () => void overload++,
    stats: (): DnsStats => ({
      responses: new Map(
        (['udp', 'tcp'] as const).flatMap((transport) =>
          counts[transport].flatMap((count, rcode) =>
            count ? [[`${transport} ${rcode}`, count] as const] : [],
          ),
        ),
      ),
      malformed,
      overload,
    }),
  };
}

/** The responder, with a bound on what waits and a count of what is dropped. */
function createService({ handler, log, maxInFlight = 1000 }: DnsServerOptions, meter: Meter): Service {
  const respond = createResponder(handler, meter.response);
  let inFlight = 0;

  async function wait(response: Promise<Buffer | undefined>): Promise<Buffer | undefined> {
    inFlight++;
    try {
      return await response;
    } catch (error) {
      log.error('a DNS query failed', { error: errorText(error) });
      return undefined;
    } finally {
      inFlight--;
    }
  }

  return {
    handle(data, transport, client) {
      if (inFlight >= maxInFlight) {
        meter.overload();
        return undefined;
      }
      const response = respond(data, transport, client);
      if (response instanceof Promise) return wait(response);
      if (!response) meter.malformed();
      return response;
    },
  };
}
