/** Conditions of cluster-wide policies and of Cilium's: what of them is read, so that who writes one sees it where he wrote it. */
import {
  ADMIN_NETWORK_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  type Kind,
} from '../api/kinds.ts';
import { isNotFound } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import type { Informer } from '../client/informer.ts';
import { type CiliumPolicyObject, namesApiServer, namesGroups } from '../policy/language/cilium-policy.ts';
import type { ClusterPolicyObject } from '../policy/objects.ts';
import { apiServerService, isOfApiServer } from './refer-objects.ts';
import { surroundingsOf } from '../policy/surroundings.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { type ObservedCondition, policyCondition, withObserved } from './policy-status-plan.ts';

const NAME = 'policy-status';
/** Types of the condition: that of policy.networking.k8s.io, and Cilium's. */
const ACCEPTED = 'Accepted';
const VALID = 'Valid';

const isCilium = (object: ClusterPolicyObject | CiliumPolicyObject): object is CiliumPolicyObject =>
  object.apiVersion.startsWith('cilium.io/');

/** Writes once for each generation of an object, and where what is read of it changes (a stage; a newer Heddle). */
export function createPolicyStatusController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { adminPolicies, baselinePolicies, clusterPolicies } = informers;
  const { ciliumPolicies, clusterwidePolicies, cidrGroups } = informers;
  const { services, slices } = informers;
  const around = (object: ClusterPolicyObject | CiliumPolicyObject) =>
    isCilium(object)
      ? surroundingsOf(
          [...cidrGroups.list(), ...(namesApiServer(object) ? apiServerService(informers) : [])],
          [],
        )
      : {};
  const reconcilers = new Map<string, (key: string) => Promise<void>>();
  const queue = queueFor(deps, NAME, reconcile, { concurrency: 2 });

  /** `AdminNetworkPolicy guard` */
  async function reconcile(key: string): Promise<void> {
    await reconcilers.get(key.split(' ')[0] ?? '')?.(key);
  }

  function follow<T extends ClusterPolicyObject | CiliumPolicyObject>(
    kind: Kind<T>,
    informer: Informer<T>,
    condition: string,
  ): void {
    const prefix = `${kind.kind} `;
    informer.onChange((key, now) => {
      if (now) queue.add(`${prefix}${key}`);
    });
    reconcilers.set(kind.kind, async (key) => {
      const object = informer.get(key.slice(prefix.length));
      if (!object || object.metadata.deletionTimestamp) return;
      const before = object.status?.conditions as readonly ObservedCondition[] | undefined;
      const at = { generation: object.metadata.generation, now: timestamp(clock.now()) };
      const conditions = withObserved(before, policyCondition(condition, object, around(object)), at);
      if (conditions === before) return;
      const written = { ...object, status: { ...object.status, conditions } };
      await client.updateStatus(kind, written).then(
        (stored) => informer.remember(stored),
        (error: unknown) => {
          if (!isNotFound(error)) throw error;
        },
      );
    });
  }

  follow(ADMIN_NETWORK_POLICY, adminPolicies, ACCEPTED);
  follow(BASELINE_ADMIN_NETWORK_POLICY, baselinePolicies, ACCEPTED);
  follow(CLUSTER_NETWORK_POLICY, clusterPolicies, ACCEPTED);
  follow(CILIUM_NETWORK_POLICY, ciliumPolicies, VALID);
  follow(CILIUM_CLUSTERWIDE_NETWORK_POLICY, clusterwidePolicies, VALID);
  // What such a policy means, another object changes.
  const touch = (names: (object: CiliumPolicyObject) => boolean): void => {
    for (const [kind, informer] of [
      [CILIUM_NETWORK_POLICY, ciliumPolicies],
      [CILIUM_CLUSTERWIDE_NETWORK_POLICY, clusterwidePolicies],
    ] as const)
      for (const object of informer.list())
        if (names(object)) queue.add(`${kind.kind} ${keyOf(object.metadata)}`);
  };
  cidrGroups.onChange(() => touch(namesGroups));
  services.onChange((key) => {
    if (key === 'default/kubernetes') touch(namesApiServer);
  });
  slices.onChange((_key, now, before) => {
    const slice = now ?? before;
    if (slice && isOfApiServer(slice)) touch(namesApiServer);
  });
  return {
    name: NAME,
    run: (signal) =>
      runWhenSynced(
        queue,
        [
          adminPolicies,
          baselinePolicies,
          clusterPolicies,
          ciliumPolicies,
          clusterwidePolicies,
          cidrGroups,
          services,
          slices,
        ],
        signal,
      ),
  };
}
