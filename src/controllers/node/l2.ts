/**
 * Balancers' addresses on the wire: for each one node holds a Lease, and answers for the address on its uplink.
 * A Service with `externalTrafficPolicy: Local` is announced by nodes that have an endpoint of it.
 */
import type { Lease, Node, Service } from '../../api/types.ts';
import type { Informer } from '../../client/informer.ts';
import { createLeaseHolder } from '../../client/lease-holder.ts';
import type { Client } from '../../client/types.ts';
import type { Announcer } from '../../datapath/announcer.ts';
import { frontendKey, type PlanState } from '../../datapath/plan/tables.ts';
import type { Clock } from '../../lib/clock.ts';
import { canonicalAddress } from '../../lib/ip.ts';
import type { Log } from '../../lib/log.ts';
import type { Metrics } from '../../lib/metrics.ts';
import { aborted } from '../../lib/signals.ts';
import { addressesOf, isAnsweredFor, isForeign } from '../balancer-plan.ts';

export const LEASE_NAMESPACE = 'kube-system';
export const LEASE_LABEL = 'heddle.dev/l2';
const PREFIX = 'heddle-l2-';

/** A node that dies is replaced within the Lease's duration and a moment. */
const LEASE_MS = 3000;
const RENEW_MS = 1000;
/** What each node further down an address's own list of nodes leaves to the ones before it. */
const RANK_MS = 150;
const LAST_RANK = 8;
const TICK = 200;

export interface L2Deps {
  readonly client: Client;
  readonly node: string;
  readonly services: Pick<Informer<Service>, 'byIndex' | 'synced'>;
  readonly nodes: Pick<Informer<Node>, 'list' | 'synced'>;
  /** Of `LEASE_NAMESPACE`, with `LEASE_LABEL`. */
  readonly leases: Informer<Lease>;
  readonly plan: Pick<PlanState, 'services'>;
  readonly announcer: Announcer;
  /** Resolves when the data path serves what is announced. */
  readonly ready: Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** As an object's name: `heddle-l2-10.240.1.1`, `heddle-l2-fd00-10--1`. */
export const leaseName = (address: string): string =>
  `${PREFIX}${address.replaceAll(':', '-')}${address.endsWith(':') ? '0' : ''}`;

/** Until the signal aborts; then its addresses are left to others. */
export async function runL2(deps: L2Deps, signal: AbortSignal): Promise<void> {
  const { services, nodes, plan, announcer, metrics, clock } = deps;
  const log = deps.log.with({ part: 'l2' });
  const balanced = services.byIndex('announced', (service) => (isOurs(service) ? ['all'] : []));
  const addresses = new Map<string, string>();
  const gauge = metrics.gauge('heddle_l2_addresses', "Balancers' addresses that this node answers for.");
  const answers = metrics.counter('heddle_l2_answers_total', 'ARP and ND questions answered.');
  let told = 0;
  metrics.onCollect(() => {
    gauge.set(announcer.addresses().size);
    answers.inc({}, announcer.answered() - told);
    told = announcer.answered();
  });

  const holder = createLeaseHolder({
    ...deps,
    namespace: LEASE_NAMESPACE,
    labels: { [LEASE_LABEL]: '' },
    identity: deps.node,
    durationMs: LEASE_MS,
    renewMs: RENEW_MS,
    changed(name, held) {
      const address = addresses.get(name);
      if (address === undefined) return;
      log.info(held ? 'an address is announced here' : 'an address is no longer announced here', { address });
      if (held) announcer.announce(address);
      else announcer.withdraw(address);
    },
  });

  function refresh(): void {
    const ours = balanced('all');
    const ready =
      ours.length > 0
        ? nodes
            .list()
            .filter(isReady)
            .map(({ metadata }) => metadata.name)
        : [];
    const wanted = new Map<string, { delayMs: number }>();
    for (const service of ours)
      for (const address of addressesOf(service).map(canonicalAddress)) {
        if (!mayAnnounce(service, address, plan)) continue;
        const name = leaseName(address);
        addresses.set(name, address);
        wanted.set(name, {
          delayMs: rankOf(address, deps.node, ready) * RANK_MS,
        });
      }
    holder.want(wanted);
    for (const name of addresses.keys())
      if (!wanted.has(name) && !holder.held.has(name)) addresses.delete(name);
  }

  const stop = new AbortController();
  await Promise.race([
    Promise.all([deps.ready, ...[services, nodes, deps.leases].map((each) => each.synced())]),
    aborted(signal),
  ]);
  const holding = signal.aborted ? undefined : holder.run(stop.signal);
  while (!signal.aborted) {
    refresh();
    await clock.sleep(TICK, signal).catch(() => {});
  }
  stop.abort();
  await holding;
}

const isOurs = (service: Service): boolean => isAnsweredFor(service) && !isForeign(service);

const isReady = ({ status }: Node): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;

function mayAnnounce(service: Service, address: string, { services }: L2Deps['plan']): boolean {
  if (service.spec?.externalTrafficPolicy !== 'Local') return true;
  return (service.spec.ports ?? []).some(({ protocol = 'TCP', port }) => {
    const frontend = services.get(frontendKey({ address, protocol, port }));
    return (frontend?.externalBackends?.length ?? 0) > 0;
  });
}

/**
 * How many nodes come before this one for an address. Each address has an order of nodes of its own (rendezvous
 * hashing), so that addresses are spread over the nodes.
 */
export function rankOf(address: string, node: string, ready: readonly string[]): number {
  const own = weight(address, node);
  const before = ready.filter((name) => name !== node && weight(address, name) > own);
  return Math.min(before.length, LAST_RANK);
}

/** FNV-1a, 32 bits, and a last mix. */
function weight(address: string, node: string): number {
  let hash = 0x811c9dc5;
  for (const char of `${node} ${address}`) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
