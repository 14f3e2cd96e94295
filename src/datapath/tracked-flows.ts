/**
 * A client that keeps sending datagrams from one port never makes a new connection, and conntrack would go on
 * sending them to a backend that is gone. Those entries are deleted, so that the next datagram draws again.
 * TCP clients notice by themselves, and an ending backend may finish what it has.
 */
import type { Tuple } from '../kernel/conntrack.ts';
import { contains, parseAddress, tryParseCidr } from '../lib/ip.ts';
import { protocolName } from '../lib/protocols.ts';
import type { TranslatedFlow } from './backend.ts';
import type { BackendAddress, Change, PlanState, ServiceFrontend } from './plan/tables.ts';
import { frontendKey, SETTINGS_KEY } from './plan/tables.ts';

export interface TrackedFlow {
  readonly original: Tuple;
  readonly reply: Tuple;
}

/** Deletes tracked connections of the node's namespace that `filter` picks; says how many. */
export type DeleteFlows = (filter: (flow: TrackedFlow) => boolean) => number;

/** Tracked connections of the node's namespace. */
export type ListFlows = () => readonly (TrackedFlow & {
  /** The kernel's IPS_* bits. */
  readonly status: number;
  /** `established`, `time-wait`; undefined of other protocols than TCP. */
  readonly tcpState?: string | undefined;
})[];

const UDP = 17;

const has = (backends: readonly BackendAddress[], address: string, port: number): boolean =>
  backends.some((backend) => backend.address === address && backend.port === port);

const all = ({ backends, externalBackends = [] }: ServiceFrontend): readonly BackendAddress[] => [
  ...backends,
  ...externalBackends,
];

/** UDP frontends that lose a backend, or themselves, or have their first one, by `changes` to `plan`. */
export function unsettled(changes: readonly Change[], plan: PlanState): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { table, key, value } of changes) {
    if (table !== 'services') continue;
    const before = plan.services.get(key);
    if ((before ?? value)?.protocol !== 'UDP') continue;
    const [had, left] = [before ? all(before) : [], value ? all(value) : []];
    if (had.length === 0 || had.some(({ address, port }) => !has(left, address, port))) keys.add(key);
  }
  return keys;
}

/**
 * Picks datagram flows that were translated to a backend which their frontend does not have (any more).
 * @param gone frontends that may have been there a moment ago; others are known by the range of services only
 */
export function isStale(
  plan: PlanState,
  gone: ReadonlySet<string> = new Set(),
): (flow: TrackedFlow) => boolean {
  const cidrs = (plan.settings.get(SETTINGS_KEY)?.serviceCidrs ?? []).flatMap(
    (text) => tryParseCidr(text) ?? [],
  );
  return ({ original, reply }) => {
    if (original.protocol !== UDP) return false;
    const key = frontendKey({ address: original.dst, protocol: 'UDP', port: original.dstPort });
    const frontend = plan.services.get(key);
    // Also one that is not translated: it began before there was a service.
    if (frontend) return !has(all(frontend), reply.src, reply.srcPort);
    if (reply.src === original.dst && reply.srcPort === original.dstPort) return false;
    const address = parseAddress(original.dst);
    return gone.has(key) || cidrs.some((cidr) => contains(cidr, address));
  };
}

const DESTINATION_NAT = 32;
const ENDED: ReadonlySet<string> = new Set(['time-wait', 'close', 'last-ack']);

/** Connections that tracking translates to backends: they end with the tables that translate. */
export function translatedFlows(plan: PlanState, connections: ReturnType<ListFlows>): TranslatedFlow[] {
  return connections
    .filter(({ status, original, tcpState }) => {
      if (ENDED.has(tcpState ?? '')) return false;
      return (status & DESTINATION_NAT) !== 0 && asksForService(plan, original);
    })
    .map(translated);
}

/** Of the address that it asked for. */
export function asksForService(plan: PlanState, { protocol, dst, dstPort }: Tuple): boolean {
  return plan.services.has(frontendKey({ address: dst, protocol: protocolName(protocol), port: dstPort }));
}

/** A connection whose answers come from another address than it asked for. */
export const translated = ({ original, reply }: TrackedFlow): TranslatedFlow => ({
  protocol: original.protocol,
  client: original.src,
  clientPort: original.srcPort,
  address: original.dst,
  port: original.dstPort,
  backend: reply.src,
  backendPort: reply.srcPort,
});
