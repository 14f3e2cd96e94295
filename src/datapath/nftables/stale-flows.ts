/**
 * A client that keeps sending datagrams from one port never makes a new connection, and conntrack would go on
 * sending them to a backend that is gone. Those entries are deleted, so that the next datagram draws again.
 * TCP clients notice by themselves, and an ending backend may finish what it has.
 */
import { contains, parseAddress, tryParseCidr } from '../../lib/ip.ts';
import type { Change, PlanState, ServiceFrontend } from '../plan/tables.ts';
import { frontendKey, SETTINGS_KEY } from '../plan/tables.ts';

interface Tuple {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
}

export interface TrackedFlow {
  readonly original: Tuple;
  readonly reply: Tuple;
}

/** Deletes tracked connections of the node's namespace that `filter` picks; says how many. */
export type DeleteFlows = (filter: (flow: TrackedFlow) => boolean) => number;

const UDP = 17;

const has = (frontend: ServiceFrontend, address: string, port: number): boolean =>
  frontend.backends.some((backend) => backend.address === address && backend.port === port);

/** True if a UDP frontend loses a backend by `changes` to `plan`. */
export function losesBackends(changes: readonly Change[], plan: PlanState): boolean {
  return changes.some((change) => {
    if (change.table !== 'services') return false;
    const before = plan.services.get(change.key);
    if (before?.protocol !== 'UDP') return false;
    const { value } = change;
    return before.backends.some(({ address, port }) => !value || !has(value, address, port));
  });
}

/** Picks datagram flows that were translated to a backend which their frontend does not have (any more). */
export function isStale(plan: PlanState): (flow: TrackedFlow) => boolean {
  const cidrs = (plan.settings.get(SETTINGS_KEY)?.serviceCidrs ?? []).flatMap(
    (text) => tryParseCidr(text) ?? [],
  );
  return ({ original, reply }) => {
    if (original.protocol !== UDP || reply.src === original.dst) return false;
    const key = frontendKey({ address: original.dst, protocol: 'UDP', port: original.dstPort });
    const frontend = plan.services.get(key);
    if (frontend) return !has(frontend, reply.src, reply.srcPort);
    const address = parseAddress(original.dst);
    return cidrs.some((cidr) => contains(cidr, address));
  };
}
