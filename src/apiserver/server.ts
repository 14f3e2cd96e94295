/** The API server: a store, its rules, and TLS listeners. Start order reads from top to bottom. */
import type { Server } from 'node:https';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { registry } from '../api/registry.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { errnoCode, errorText, HeddleError } from '../lib/errors.ts';
import { formatAddress, formatHostPort, nth, parseCidr } from '../lib/ip.ts';
import type { Log } from '../lib/log.ts';
import { createMetrics, type Metrics } from '../lib/metrics.ts';
import type { Store } from '../store/types.ts';
import { createServiceAddresses } from './allocate.ts';
import { type AccountTokensOptions, createAccountTokens } from './account-tokens.ts';
import { createAuthenticate, type TokenEntry } from './authenticate.ts';
import { bootstrap } from './bootstrap.ts';
import { createDiscovery } from './discovery.ts';
import { createHandler, type HandlerDeps } from './handler.ts';
import { createInstruments } from './instruments.ts';
import type { Kubelets } from './kubelets.ts';
import { createUpgrade } from './upgrade.ts';

export interface ApiServerOptions {
  readonly store: Store;
  readonly log: Log;
  readonly clock?: Clock;
  readonly metrics?: Metrics;
  /** PEM; `ca` signs client certificates. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly tokens?: readonly TokenEntry[];
  /** Absent: service accounts have no tokens. */
  readonly accountTokens?: AccountTokensOptions;
  readonly serviceCidrs: readonly string[];
  readonly dnsAddresses: readonly string[];
  /** Who answers for logs and commands of pods. */
  readonly kubelets?: Kubelets;
  /** Told of each client's connection. */
  readonly onConnection?: (socket: Socket) => void;
  /** What the `kubernetes` Service leads to; also where `listen` binds by default. */
  readonly advertise: { readonly addresses: readonly string[]; readonly port: number };
}

export type ListenAt = { readonly fd: number } | { readonly host: string; readonly port: number };

export interface ApiServer {
  /** The address it is bound to. @throws HeddleError `ApiListen` */
  listen(at: ListenAt): Promise<AddressInfo>;
  /** Ends watches, answers what is under way, then closes; the store stays open. */
  close(deadlineMs?: number): Promise<void>;
}

const DEADLINE_MS = 3000;
/** Longer than clients keep theirs, so that the client closes first. */
const KEEP_ALIVE_MS = 120_000;

export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { store, log, clock = systemClock, metrics = createMetrics() } = options;
  const own = options.serviceCidrs.map((cidr) => formatAddress(nth(parseCidr(cidr), 1n)!));
  const addresses = createServiceAddresses(store, {
    serviceCidrs: options.serviceCidrs,
    reserved: [...own, ...options.dnsAddresses],
  });
  const stopping = new AbortController();
  let started = false;
  const { kubelets } = options;
  const accountTokens = options.accountTokens && createAccountTokens(options.accountTokens, { store, clock });
  const deps = {
    kubelets,
    accountTokens,
    store,
    registry,
    addresses,
    clock,
    log,
    metrics,
    stopping: stopping.signal,
  };
  const handlerDeps: HandlerDeps = {
    ...deps,
    authenticate: createAuthenticate(options.tokens, accountTokens),
    discovery: createDiscovery(registry),
    instruments: createInstruments(deps),
    health: {
      checks: () => ({
        ping: undefined,
        store: store.failed.aborted ? errorText(store.failed.reason) : undefined,
        started: started ? undefined : 'still starting',
        shutdown: stopping.signal.aborted ? 'shutting down' : undefined,
      }),
    },
  };
  const handler = createHandler(handlerDeps);
  const onUpgrade = createUpgrade(handlerDeps);
  await bootstrap(deps, { ...options.advertise, serviceAddresses: own });
  started = true;

  const servers: Server[] = [];
  /** Connections that the servers no longer know how to close, and still wait for. */
  const upgraded = new Set<Duplex>();
  return {
    async listen(at) {
      const server = createServer(
        {
          ...options.tls,
          // Certificates that do not hold are refused per request, with a Status, not by a broken handshake.
          requestCert: true,
          rejectUnauthorized: false,
          minVersion: 'TLSv1.2',
          keepAliveTimeout: KEEP_ALIVE_MS,
        },
        handler,
      );
      server.on('upgrade', (request, socket, head) => {
        upgraded.add(socket);
        socket.once('close', () => upgraded.delete(socket));
        onUpgrade(request, socket, head);
      });
      server.on('secureConnection', (socket) => options.onConnection?.(socket));
      server.on('tlsClientError', (error) => log.debug('TLS handshake failed', { error: errorText(error) }));
      const bound = await bind(server, at);
      servers.push(server);
      return bound;
    },
    async close(deadlineMs = DEADLINE_MS) {
      stopping.abort(new Error('the API server shuts down'));
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      for (const server of servers) server.closeIdleConnections();
      const timer = setTimeout(() => {
        for (const server of servers) server.closeAllConnections();
        for (const socket of upgraded) socket.destroy();
      }, deadlineMs);
      await Promise.all(closed);
      clearTimeout(timer);
      addresses.close();
    },
  };
}

function bind(server: Server, at: ListenAt): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(listenError(at, error));
    server.once('error', onError);
    server.listen(at, () => {
      server.off('error', onError);
      resolve(server.address() as AddressInfo);
    });
  });
}

function listenError(at: ListenAt, error: Error): HeddleError {
  const where = 'fd' in at ? `descriptor ${at.fd}` : formatHostPort(at.host, at.port);
  const hints: Record<string, string> = {
    EADDRINUSE: 'another process listens there; stop it or choose another port',
    EADDRNOTAVAIL: 'no interface has this address: the underlay is not set up in this namespace',
    EACCES: 'ports below 1024 need root',
    EINVAL: 'the descriptor is not a listening socket',
    EBADF: 'no such descriptor was inherited',
  };
  return new HeddleError('ApiListen', `the API server cannot listen at ${where}`, {
    hint: hints[errnoCode(error) ?? ''] ?? 'see the cause',
    cause: error,
  });
}
