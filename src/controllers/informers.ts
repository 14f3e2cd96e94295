/** The copies that the controllers of one process share: one list and watch for each kind. */
import {
  ADMIN_NETWORK_POLICY,
  BASELINE_ADMIN_NETWORK_POLICY,
  CILIUM_BGP_CLUSTER_CONFIG,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_NODE_CONFIG_OVERRIDE,
  CILIUM_BGP_PEER_CONFIG,
  CILIUM_CIDR_GROUP,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CILIUM_NODE,
  CILIUM_POD_IP_POOL,
  CALICO_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  CONFIG_MAP,
  DEPLOYMENT,
  ENDPOINT_SLICE,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  type Kind,
  LOAD_BALANCER_IP_POOL,
  NAMESPACE,
  NETWORK_POLICY,
  NETWORK_SET,
  NODE,
  POD,
  REPLICA_SET,
  SECRET,
  SERVICE,
  SERVICE_ACCOUNT,
  TIER,
} from '../api/kinds.ts';
import type {
  CiliumBgpClusterConfig,
  CiliumBgpNodeConfig,
  CiliumBgpNodeConfigOverride,
  CiliumBgpPeerConfig,
} from '../api/cilium-bgp-types.ts';
import type {
  CalicoGlobalNetworkPolicy,
  CalicoGlobalNetworkSet,
  CalicoNetworkPolicy,
  CalicoNetworkSet,
  CalicoTier,
} from '../api/calico-types.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  ConfigMap,
  Deployment,
  EndpointSlice,
  KubeObject,
  LoadBalancerIpPool,
  Namespace,
  NetworkPolicy,
  Node,
  ObjectMeta,
  Pod,
  ReplicaSet,
  Secret,
  Service,
  ServiceAccount,
} from '../api/types.ts';
import type {
  CiliumCidrGroup,
  CiliumClusterwideNetworkPolicy,
  CiliumNetworkPolicy,
} from '../api/cilium-policy-types.ts';
import type { CiliumNode, CiliumPodIpPool } from '../api/ipam-types.ts';
import { type Informer, createInformer } from '../client/informer.ts';
import type { Client } from '../client/types.ts';
import type { Log } from '../lib/log.ts';
import { controllerOf } from './owner.ts';
import { keepPod } from './pods.ts';

/** Milliseconds after which an API server is asked again for a kind that it did not have. */
const KIND_RETRY = 30_000;

/** An object of which only the metadata matters. */
export interface MetadataOnly {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export interface ClusterInformers {
  namespaces: Informer<Namespace>;
  nodes: Informer<Node>;
  pods: Informer<Pod>;
  services: Informer<Service>;
  slices: Informer<EndpointSlice>;
  deployments: Informer<Deployment>;
  replicaSets: Informer<ReplicaSet>;
  serviceAccounts: Informer<ServiceAccount, MetadataOnly>;
  configMaps: Informer<ConfigMap, MetadataOnly>;
  secrets: Informer<Secret, MetadataOnly>;
  policies: Informer<NetworkPolicy, MetadataOnly>;
  adminPolicies: Informer<AdminNetworkPolicy>;
  baselinePolicies: Informer<BaselineAdminNetworkPolicy>;
  clusterPolicies: Informer<ClusterNetworkPolicy>;
  ciliumPolicies: Informer<CiliumNetworkPolicy>;
  clusterwidePolicies: Informer<CiliumClusterwideNetworkPolicy>;
  cidrGroups: Informer<CiliumCidrGroup>;
  calicoPolicies: Informer<CalicoNetworkPolicy, MetadataOnly>;
  globalPolicies: Informer<CalicoGlobalNetworkPolicy, MetadataOnly>;
  tiers: Informer<CalicoTier, MetadataOnly>;
  networkSets: Informer<CalicoNetworkSet, MetadataOnly>;
  globalNetworkSets: Informer<CalicoGlobalNetworkSet, MetadataOnly>;
  pools: Informer<LoadBalancerIpPool>;
  podPools: Informer<CiliumPodIpPool>;
  blockHolders: Informer<CiliumNode>;
  bgpClusterConfigs: Informer<CiliumBgpClusterConfig>;
  bgpNodeConfigs: Informer<CiliumBgpNodeConfig>;
  bgpNodeConfigOverrides: Informer<CiliumBgpNodeConfigOverride>;
  bgpPeerConfigs: Informer<CiliumBgpPeerConfig>;
  run(signal: AbortSignal): Promise<void>;
}

/** `kubectl apply` keeps the whole object once more in here, and the server keeps who wrote which field. */
function lean<T>(object: T): T {
  const { metadata } = object as unknown as KubeObject;
  delete metadata.managedFields;
  return object;
}

function metadataOnly(kind: Kind) {
  return (object: unknown): MetadataOnly => {
    const { apiVersion, metadata } = object as KubeObject;
    const { name, namespace, uid, labels, ownerReferences, finalizers } = metadata;
    const { resourceVersion, deletionTimestamp } = metadata;
    return {
      apiVersion,
      kind: kind.kind,
      metadata: {
        name,
        namespace,
        uid,
        labels,
        ownerReferences,
        finalizers,
        resourceVersion,
        deletionTimestamp,
      },
    };
  };
}

export function createClusterInformers(client: Client, log: Log): ClusterInformers {
  const whole = <T>(kind: Kind<T>) => createInformer<T>(client, kind, { log, keep: lean });
  const optional = <T>(kind: Kind<T>) =>
    createInformer<T>(client, kind, { log, keep: lean, absentFor: KIND_RETRY });
  const thin = <T>(kind: Kind<T>) =>
    createInformer<T, MetadataOnly>(client, kind, { log, keep: metadataOnly(kind) });
  const informers = {
    namespaces: whole(NAMESPACE),
    nodes: whole(NODE),
    pods: createInformer<Pod>(client, POD, { log, keep: keepPod }),
    services: whole(SERVICE),
    slices: whole(ENDPOINT_SLICE),
    deployments: whole(DEPLOYMENT),
    replicaSets: whole(REPLICA_SET),
    serviceAccounts: thin(SERVICE_ACCOUNT),
    configMaps: thin(CONFIG_MAP),
    secrets: thin(SECRET),
    policies: thin(NETWORK_POLICY),
    adminPolicies: whole(ADMIN_NETWORK_POLICY),
    baselinePolicies: whole(BASELINE_ADMIN_NETWORK_POLICY),
    clusterPolicies: whole(CLUSTER_NETWORK_POLICY),
    ciliumPolicies: whole(CILIUM_NETWORK_POLICY),
    clusterwidePolicies: whole(CILIUM_CLUSTERWIDE_NETWORK_POLICY),
    cidrGroups: whole(CILIUM_CIDR_GROUP),
    calicoPolicies: thin(CALICO_NETWORK_POLICY),
    globalPolicies: thin(GLOBAL_NETWORK_POLICY),
    tiers: thin(TIER),
    networkSets: thin(NETWORK_SET),
    globalNetworkSets: thin(GLOBAL_NETWORK_SET),
    pools: whole(LOAD_BALANCER_IP_POOL),
    podPools: whole(CILIUM_POD_IP_POOL),
    blockHolders: whole(CILIUM_NODE),
    bgpClusterConfigs: optional(CILIUM_BGP_CLUSTER_CONFIG),
    bgpNodeConfigs: optional(CILIUM_BGP_NODE_CONFIG),
    bgpNodeConfigOverrides: optional(CILIUM_BGP_NODE_CONFIG_OVERRIDE),
    bgpPeerConfigs: optional(CILIUM_BGP_PEER_CONFIG),
  };
  return {
    ...informers,
    async run(signal) {
      await Promise.all(Object.values(informers).map((informer) => informer.run(signal)));
    },
  };
}

interface HasMetadata {
  metadata: ObjectMeta;
}

/** Nothing can be made in a namespace that ends. */
export const namespaceEnds = (informers: ClusterInformers, namespace: string | undefined): boolean =>
  informers.namespaces.get(namespace ?? '')?.metadata.deletionTimestamp !== undefined;

/** Objects by the uid of their controller. */
export const byController = <T extends HasMetadata>(informer: Pick<Informer<unknown, T>, 'byIndex'>) =>
  informer.byIndex('controller', ({ metadata }) => {
    const uid = controllerOf(metadata)?.uid;
    return uid === undefined ? [] : [uid];
  });

/** Objects without a controller, by namespace. */
export const orphansByNamespace = <T extends HasMetadata>(informer: Pick<Informer<unknown, T>, 'byIndex'>) =>
  informer.byIndex('orphan', ({ metadata }) => (controllerOf(metadata) ? [] : [metadata.namespace ?? '']));

export const byNamespace = <T extends HasMetadata>(informer: Pick<Informer<unknown, T>, 'byIndex'>) =>
  informer.byIndex('namespace', ({ metadata }) => [metadata.namespace ?? '']);
