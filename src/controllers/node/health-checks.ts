/**
 * What balancers outside ask a node, as kube-proxy answers: on the `healthCheckNodePort` of a Service whether the
 * node has an endpoint of it, on 10256 (`/healthz`) whether it balances at all.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { serviceOf } from '../../api/labels.ts';
import type { EndpointSlice, Node, Service } from '../../api/types.ts';
import { keyOf } from '../../client/informer-cache.ts';
import type { Informer } from '../../client/informer.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { aborted } from '../../lib/signals.ts';

export const PROXY_HEALTH_PORT = 10256;
/** Of the cluster autoscaler: the node will go, nothing new is to come to it. */
const TO_BE_DELETED = 'ToBeDeletedByClusterAutoscaler';
/** Milliseconds that changes are gathered. */
const GATHER = 100;
/** Milliseconds until a port that was taken is tried again. */
const RETRY = 2000;
/** Milliseconds without a change and without a port to try: an hour; what is to happen ends the wait. */
const IDLE = 3_600_000;

export interface HealthCheckDeps {
  readonly node: string;
  readonly services: Pick<Informer<Service>, 'list' | 'onChange' | 'synced'>;
  readonly slices: Pick<Informer<EndpointSlice>, 'byIndex' | 'synced'>;
  readonly nodes: Pick<Informer<Node>, 'get' | 'synced'>;
  /** The data path holds what the objects say. */
  healthy(): boolean;
  /** A listening descriptor on every address of the node. Throws when the port is taken. */
  listen(port: number): number;
  readonly clock: Clock;
  readonly log: Log;
}

export function createHealthChecks(deps: HealthCheckDeps): { run(signal: AbortSignal): Promise<void> } {
  const { node, services, slices, nodes, clock } = deps;
  const log = deps.log.with({ part: 'health checks' });
  const slicesOf = slices.byIndex('service', (slice) => [serviceOf(slice)]);
  /** By port: the Service, `namespace/name`. */
  const wanted = new Map<number, string>();
  const open = new Map<number, Server>();
  const notBefore = new Map<number, number>();
  let dirty = true;
  let updated = clock.now();

  let rest = new AbortController();
  services.onChange(() => {
    dirty = true;
    rest.abort();
  });

  /** Until a Service changes, or a port that was taken is to be tried again. */
  async function untilChange(): Promise<void> {
    rest = new AbortController();
    const closed = [PROXY_HEALTH_PORT, ...wanted.keys()].filter((port) => !open.has(port));
    const next = Math.min(...closed.map((port) => notBefore.get(port) ?? 0)) - clock.monotonic();
    await clock.sleep(Math.min(Math.max(next, 1), IDLE), rest.signal).catch(() => {});
  }

  function lookAgain(): void {
    dirty = false;
    wanted.clear();
    for (const { metadata, spec } of services.list()) {
      const port = spec?.healthCheckNodePort;
      if (spec?.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local' && port)
        wanted.set(port, keyOf(metadata));
    }
    for (const port of open.keys()) if (port !== PROXY_HEALTH_PORT && !wanted.has(port)) shut(port);
  }

  /** Ready endpoints here; one that ends is not counted, so that balancers leave before it is gone. */
  function localEndpoints(key: string): number {
    const counts = { IPv4: 0, IPv6: 0 };
    for (const { addressType, endpoints } of slicesOf(key))
      if (addressType !== 'FQDN')
        counts[addressType] += (endpoints ?? []).filter(
          ({ nodeName, conditions }) => nodeName === node && conditions?.ready !== false,
        ).length;
    return Math.max(counts.IPv4, counts.IPv6);
  }

  function answerService(port: number, response: ServerResponse): void {
    const key = wanted.get(port) ?? '';
    const [namespace, name] = key.split('/');
    const count = localEndpoints(key);
    const isHealthy = deps.healthy();
    const body = { service: { namespace, name }, localEndpoints: count, serviceProxyHealthy: isHealthy };
    const weight = { 'x-load-balancing-endpoint-weight': String(count) };
    answer(response, count > 0 && isHealthy, `${JSON.stringify(body, null, '\t')}\n`, weight);
  }

  function answerProxy(path: string, response: ServerResponse): void {
    if (path !== '/healthz' && path !== '/livez') return void response.writeHead(404).end();
    const self = nodes.get(node);
    const leaves =
      self?.metadata.deletionTimestamp !== undefined ||
      (self?.spec?.taints ?? []).some(({ key }) => key === TO_BE_DELETED);
    const isHealthy = deps.healthy();
    const [now, nodeEligible] = [clock.now(), !leaves];
    if (isHealthy) updated = now;
    const time = (ms: number) => new Date(ms).toISOString();
    const body = { lastUpdated: time(updated), currentTime: time(now), nodeEligible };
    // A node that goes is alive, but is to be given nothing new.
    const good = isHealthy && (nodeEligible || path === '/livez');
    answer(response, good, JSON.stringify(body));
  }

  function start(port: number): void {
    if (open.has(port) || clock.monotonic() < (notBefore.get(port) ?? 0)) return;
    const failed = (error: unknown) => {
      notBefore.set(port, clock.monotonic() + RETRY);
      log.warn('a health check port cannot be opened', { port, error: errorText(error) });
    };
    let fd: number;
    try {
      fd = deps.listen(port);
    } catch (error) {
      failed(error);
      return;
    }
    const server = createServer((request, response) => {
      const path = (request.url ?? '/').split('?')[0] ?? '/';
      if (port === PROXY_HEALTH_PORT) answerProxy(path, response);
      else answerService(port, response);
    });
    // A check is one short request; who keeps a connection gets its answers on it all the same.
    server.requestTimeout = 10_000;
    server.on('error', (error) => {
      failed(error);
      open.delete(port);
      rest.abort();
    });
    server.listen({ fd });
    open.set(port, server);
  }

  function shut(port: number): void {
    open.get(port)?.close();
    open.get(port)?.closeAllConnections();
    open.delete(port);
  }

  return {
    async run(signal) {
      await Promise.race([
        Promise.all([services, slices, nodes].map((each) => each.synced())),
        aborted(signal),
      ]);
      signal.addEventListener('abort', () => rest.abort(), { once: true });
      while (!signal.aborted) {
        if (dirty) lookAgain();
        for (const port of [PROXY_HEALTH_PORT, ...wanted.keys()]) start(port);
        await untilChange();
        if (dirty) await clock.sleep(GATHER, signal).catch(() => {});
      }
      for (const port of open.keys()) shut(port);
    },
  };
}

function answer(response: ServerResponse, isGood: boolean, text: string, headers = {}): void {
  response
    .writeHead(isGood ? 200 : 503, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'x-content-type-options': 'nosniff',
      ...headers,
    })
    .end(text);
}
