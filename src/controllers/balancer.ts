/** Addresses of Services of type LoadBalancer, out of pools. Who has which is what their status says. */
import { LOAD_BALANCER_IP_POOL, SERVICE } from '../api/kinds.ts';
import type { LoadBalancerIpPool, Service } from '../api/types.ts';
import { isAlreadyExists } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import { canonicalAddress, tryParseAddress } from '../lib/ip.ts';
import { sameJson } from '../lib/json.ts';
import {
  addressesOf,
  chooseAddresses,
  conflictOf,
  isBalanced,
  isForeign,
  type Outcome,
  poolCounts,
  SATISFIED,
  SHARING,
} from './balancer-plan.ts';
import { withCondition } from './conditions.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';

/** Ranges of addresses, first and last. */
export interface BalancerRange {
  readonly start: string;
  readonly stop: string;
}

/** Made where it is missing when the controllers start; whoever wants none of it sets `spec.disabled`. */
const DEFAULT_POOL = 'default';
/** Milliseconds that changes of a pool's numbers gather before they are written. */
const COUNT_DELAY = 500;

export function createBalancerController(
  deps: ControllerDeps,
  { ranges = [] }: { ranges?: readonly BalancerRange[] } = {},
): Controller {
  const { client, informers, clock } = deps;
  const { services, pools } = informers;
  const holders = services.byIndex('balancer-address', (service) =>
    addressesOf(service)
      .filter((text) => tryParseAddress(text) !== undefined)
      .map(canonicalAddress),
  );
  const sharing = services.byIndex('sharing-key', ({ metadata }) => {
    const key = metadata.annotations?.[SHARING];
    return key ? [`${metadata.namespace ?? ''} ${key}`] : [];
  });
  const balanced = services.byIndex('balanced', (service) => (isBalanced(service) ? ['all'] : []));
  // One at a time: what one is given the next must see.
  const queue = queueFor(deps, 'balancer', reconcile, { concurrency: 1 });
  const counts = queueFor(deps, 'balancer-pool', count, { concurrency: 1 });
  const wanting = new Set<string>();

  async function reconcile(key: string): Promise<void> {
    if (key === DEFAULT_POOL) return ensureDefault();
    const service = services.get(key);
    wanting.delete(key);
    if (!service || !isBalanced(service) || isForeign(service) || service.metadata.deletionTimestamp) return;
    const outcome = chooseAddresses({
      service,
      pools: pools.list(),
      holdersOf: holders,
      shared: sharedWith(service),
    });
    if (!outcome.satisfied) wanting.add(key);
    const status = statusOf(service, outcome);
    if (!sameJson(status, service.status))
      services.remember(await client.updateStatus(SERVICE, { ...service, status }));
  }

  const sharedWith = ({ metadata }: Service): string[] => {
    const key = metadata.annotations?.[SHARING];
    return key ? sharing(`${metadata.namespace ?? ''} ${key}`).flatMap(addressesOf) : [];
  };

  function statusOf(service: Service, outcome: Outcome): Service['status'] {
    const { reason, message, satisfied, addresses } = outcome;
    const condition = { type: SATISFIED, status: satisfied ? 'True' : 'False', reason, message };
    const now = timestamp(clock.now());
    const { generation } = service.metadata;
    const conditions = withCondition(
      service.status?.conditions,
      { ...condition, lastTransitionTime: now, ...(generation ? { observedGeneration: generation } : {}) },
      now,
    );
    const ingress = addresses.map((ip) => ({ ip, ipMode: 'VIP' }));
    return { ...service.status, loadBalancer: ingress.length > 0 ? { ingress } : {}, conditions };
  }

  async function count(name: string): Promise<void> {
    const pool = pools.get(name);
    if (!pool) return;
    const held = [...new Set(balanced('all').flatMap(addressesOf))];
    const { total, used } = poolCounts(pool, held);
    const conflict = conflictOf(pool, pools.list());
    const numbers = { IPsTotal: total, IPsAvailable: total - BigInt(used), IPsUsed: used };
    const now = timestamp(clock.now());
    let conditions: Condition[] = [...(pool.status?.conditions ?? [])] as Condition[];
    const set = (type: string, status: string, reason: string, message: string) => {
      conditions = withCondition(
        conditions,
        { type: `cilium.io/${type}`, status, reason, message, lastTransitionTime: now },
        now,
      );
    };
    if (conflict)
      set('PoolConflict', 'True', 'cidr_overlap', `has addresses of pool ${conflict.metadata.name} too`);
    else set('PoolConflict', 'False', 'resolved', '');
    for (const [type, number] of Object.entries(numbers)) set(type, 'Unknown', 'noreason', String(number));
    if (!sameJson(conditions, pool.status?.conditions ?? []))
      pools.remember(await client.updateStatus(LOAD_BALANCER_IP_POOL, { ...pool, status: { conditions } }));
  }

  async function ensureDefault(): Promise<void> {
    if (ranges.length === 0 || pools.get(DEFAULT_POOL)) return;
    const pool: LoadBalancerIpPool = {
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumLoadBalancerIPPool',
      metadata: { name: DEFAULT_POOL },
      spec: { blocks: ranges.map(({ start, stop }) => ({ start, stop })) },
    };
    await client.create(LOAD_BALANCER_IP_POOL, pool).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
  }

  const countAll = () => {
    for (const { metadata } of pools.list()) counts.addAfter(metadata.name, COUNT_DELAY);
  };

  services.onChange((key, now, before) => {
    const [had, has] = [before, now].map((each) => (each ? addressesOf(each) : []));
    if (now && isBalanced(now)) queue.add(key);
    if (!now) wanting.delete(key);
    if (sameJson(had, has)) return;
    countAll();
    // What one gives back another may have been waiting for.
    if (had && had.length > 0) for (const each of wanting) queue.add(each);
  });
  pools.onChange((_key, now, before) => {
    countAll();
    if (now && before && sameJson([now.spec, now.metadata.labels], [before.spec, before.metadata.labels]))
      return;
    for (const service of balanced('all')) queue.add(keyOf(service.metadata));
  });

  return {
    name: 'balancer-controller',
    async run(signal) {
      queue.add(DEFAULT_POOL);
      await Promise.all([queue, counts].map((each) => runWhenSynced(each, [services, pools], signal)));
    },
  };
}

type Condition = Required<
  Pick<
    NonNullable<NonNullable<LoadBalancerIpPool['status']>['conditions']>[number],
    'type' | 'status' | 'reason' | 'message' | 'lastTransitionTime'
  >
>;
