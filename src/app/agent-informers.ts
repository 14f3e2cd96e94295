/** One copy of each kind, for all parts of an agent that need it. */
import {
  ADMIN_NETWORK_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CALICO_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  ENDPOINT_SLICE,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  NAMESPACE,
  NETWORK_POLICY,
  NETWORK_SET,
  NODE,
  POD,
  SERVICE,
  SERVICE_ACCOUNT,
  TIER,
  UPLINK_PROTECTION,
} from '../api/kinds.ts';
import { createInformer } from '../client/informer.ts';
import { createKeepers } from '../controllers/node/kept.ts';
import { addressedNamespace } from '../controllers/node/pod-wishes.ts';
import { worldPod, worldServiceAccount } from '../policy/from-objects.ts';
import type { Client } from '../client/types.ts';
import type { Log } from '../lib/log.ts';

/** Milliseconds after which an API server is asked again for a kind that it did not have. */
const KIND_RETRY = 30_000;

export function agentInformers(client: Client, log: Log) {
  const kept = createKeepers();
  /** Another API server may lack what Kubernetes itself does not have. */
  const optional = { log, absentFor: KIND_RETRY };
  return {
    services: createInformer(client, SERVICE, { log, keep: kept.service }),
    slices: createInformer(client, ENDPOINT_SLICE, { log, keep: kept.slice }),
    nodes: createInformer(client, NODE, { log }),
    policies: createInformer(client, NETWORK_POLICY, { log }),
    calicoPolicies: createInformer(client, CALICO_NETWORK_POLICY, optional),
    globalPolicies: createInformer(client, GLOBAL_NETWORK_POLICY, optional),
    tiers: createInformer(client, TIER, optional),
    networkSets: createInformer(client, NETWORK_SET, optional),
    globalNetworkSets: createInformer(client, GLOBAL_NETWORK_SET, optional),
    serviceAccounts: createInformer(client, SERVICE_ACCOUNT, { log, keep: worldServiceAccount }),
    adminPolicies: createInformer(client, ADMIN_NETWORK_POLICY, optional),
    baselinePolicies: createInformer(client, BASELINE_ADMIN_NETWORK_POLICY, optional),
    clusterPolicies: createInformer(client, CLUSTER_NETWORK_POLICY, optional),
    ciliumPolicies: createInformer(client, CILIUM_NETWORK_POLICY, optional),
    clusterwidePolicies: createInformer(client, CILIUM_CLUSTERWIDE_NETWORK_POLICY, optional),
    cidrGroups: createInformer(client, CILIUM_CIDR_GROUP, optional),
    protections: createInformer(client, UPLINK_PROTECTION, optional),
    namespaces: createInformer(client, NAMESPACE, { log, keep: addressedNamespace }),
    pods: createInformer(client, POD, { log, keep: worldPod }),
  };
}
