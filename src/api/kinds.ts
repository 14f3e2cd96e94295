/** Names of the kinds: what a client needs to build a path, nothing more. */
import type { AuthorizationPolicy, PeerAuthentication } from './istio-types.ts';
import type {
  CiliumCidrGroup,
  CiliumClusterwideNetworkPolicy,
  CiliumNetworkPolicy,
} from './cilium-policy-types.ts';
import type { CalicoIpReservation, CiliumNode, CiliumPodIpPool } from './ipam-types.ts';
import type {
  CiliumBgpAdvertisement,
  CiliumBgpClusterConfig,
  CiliumBgpNodeConfig,
  CiliumBgpNodeConfigOverride,
  CiliumBgpPeerConfig,
} from './cilium-bgp-types.ts';
import type {
  CalicoGlobalNetworkPolicy,
  CalicoGlobalNetworkSet,
  CalicoNetworkPolicy,
  CalicoNetworkSet,
  CalicoTier,
} from './calico-types.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  ConfigMap,
  Deployment,
  EndpointSlice,
  Event,
  Lease,
  LoadBalancerIpPool,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  ReplicaSet,
  Secret,
  Service,
  ServiceAccount,
  UplinkProtection,
} from './types.ts';

/** T is the object's type; it is carried by the type alone. */
export interface Kind<T = unknown> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** The resource of the path: lower case, plural. */
  readonly resource: string;
  readonly namespaced: boolean;
  readonly __type?: T;
}

const core = (kind: string, resource: string, namespaced = true) =>
  ({ group: '', version: 'v1', kind, resource, namespaced }) as const;
const grouped = (group: string, kind: string, resource: string) =>
  ({ group, version: 'v1', kind, resource, namespaced: true }) as const;

export const NAMESPACE: Kind<Namespace> = core('Namespace', 'namespaces', false);
export const NODE: Kind<Node> = core('Node', 'nodes', false);
export const POD: Kind<Pod> = core('Pod', 'pods');
export const SERVICE: Kind<Service> = core('Service', 'services');
export const CONFIG_MAP: Kind<ConfigMap> = core('ConfigMap', 'configmaps');
export const SECRET: Kind<Secret> = core('Secret', 'secrets');
export const SERVICE_ACCOUNT: Kind<ServiceAccount> = core('ServiceAccount', 'serviceaccounts');
export const EVENT: Kind<Event> = core('Event', 'events');
export const ENDPOINT_SLICE: Kind<EndpointSlice> = grouped(
  'discovery.k8s.io',
  'EndpointSlice',
  'endpointslices',
);
export const DEPLOYMENT: Kind<Deployment> = grouped('apps', 'Deployment', 'deployments');
export const REPLICA_SET: Kind<ReplicaSet> = grouped('apps', 'ReplicaSet', 'replicasets');
export const NETWORK_POLICY: Kind<NetworkPolicy> = grouped(
  'networking.k8s.io',
  'NetworkPolicy',
  'networkpolicies',
);

const POLICY_GROUP = 'policy.networking.k8s.io';
export const ADMIN_NETWORK_POLICY: Kind<AdminNetworkPolicy> = {
  group: POLICY_GROUP,
  version: 'v1alpha1',
  kind: 'AdminNetworkPolicy',
  resource: 'adminnetworkpolicies',
  namespaced: false,
};
export const BASELINE_ADMIN_NETWORK_POLICY: Kind<BaselineAdminNetworkPolicy> = {
  group: POLICY_GROUP,
  version: 'v1alpha1',
  kind: 'BaselineAdminNetworkPolicy',
  resource: 'baselineadminnetworkpolicies',
  namespaced: false,
};

export const CLUSTER_NETWORK_POLICY: Kind<ClusterNetworkPolicy> = {
  group: POLICY_GROUP,
  version: 'v1alpha2',
  kind: 'ClusterNetworkPolicy',
  resource: 'clusternetworkpolicies',
  namespaced: false,
};

const istio = (kind: string, resource: string) => grouped('security.istio.io', kind, resource);
export const AUTHORIZATION_POLICY: Kind<AuthorizationPolicy> = istio(
  'AuthorizationPolicy',
  'authorizationpolicies',
);
export const PEER_AUTHENTICATION: Kind<PeerAuthentication> = istio(
  'PeerAuthentication',
  'peerauthentications',
);
const calico = (kind: string, resource: string, namespaced: boolean) =>
  ({ group: 'projectcalico.org', version: 'v3', kind, resource, namespaced }) as const;

export const CALICO_NETWORK_POLICY: Kind<CalicoNetworkPolicy> = calico(
  'NetworkPolicy',
  'networkpolicies',
  true,
);
export const GLOBAL_NETWORK_POLICY: Kind<CalicoGlobalNetworkPolicy> = calico(
  'GlobalNetworkPolicy',
  'globalnetworkpolicies',
  false,
);
export const TIER: Kind<CalicoTier> = calico('Tier', 'tiers', false);
export const NETWORK_SET: Kind<CalicoNetworkSet> = calico('NetworkSet', 'networksets', true);
export const GLOBAL_NETWORK_SET: Kind<CalicoGlobalNetworkSet> = calico(
  'GlobalNetworkSet',
  'globalnetworksets',
  false,
);

export const LEASE: Kind<Lease> = grouped('coordination.k8s.io', 'Lease', 'leases');
const CILIUM_GROUP = 'cilium.io';
export const CILIUM_NETWORK_POLICY: Kind<CiliumNetworkPolicy> = {
  group: CILIUM_GROUP,
  version: 'v2',
  kind: 'CiliumNetworkPolicy',
  resource: 'ciliumnetworkpolicies',
  namespaced: true,
};
export const CILIUM_CLUSTERWIDE_NETWORK_POLICY: Kind<CiliumClusterwideNetworkPolicy> = {
  group: CILIUM_GROUP,
  version: 'v2',
  kind: 'CiliumClusterwideNetworkPolicy',
  resource: 'ciliumclusterwidenetworkpolicies',
  namespaced: false,
};
export const CILIUM_CIDR_GROUP: Kind<CiliumCidrGroup> = {
  group: CILIUM_GROUP,
  version: 'v2',
  kind: 'CiliumCIDRGroup',
  resource: 'ciliumcidrgroups',
  namespaced: false,
};
const bgp = (kind: string, resource: string) =>
  ({ group: CILIUM_GROUP, version: 'v2', kind, resource, namespaced: false }) as const;
export const CILIUM_BGP_CLUSTER_CONFIG: Kind<CiliumBgpClusterConfig> = bgp(
  'CiliumBGPClusterConfig',
  'ciliumbgpclusterconfigs',
);
export const CILIUM_BGP_PEER_CONFIG: Kind<CiliumBgpPeerConfig> = bgp(
  'CiliumBGPPeerConfig',
  'ciliumbgppeerconfigs',
);
export const CILIUM_BGP_ADVERTISEMENT: Kind<CiliumBgpAdvertisement> = bgp(
  'CiliumBGPAdvertisement',
  'ciliumbgpadvertisements',
);
export const CILIUM_BGP_NODE_CONFIG: Kind<CiliumBgpNodeConfig> = bgp(
  'CiliumBGPNodeConfig',
  'ciliumbgpnodeconfigs',
);
export const CILIUM_BGP_NODE_CONFIG_OVERRIDE: Kind<CiliumBgpNodeConfigOverride> = bgp(
  'CiliumBGPNodeConfigOverride',
  'ciliumbgpnodeconfigoverrides',
);
export const LOAD_BALANCER_IP_POOL: Kind<LoadBalancerIpPool> = {
  group: CILIUM_GROUP,
  version: 'v2alpha1',
  kind: 'CiliumLoadBalancerIPPool',
  resource: 'ciliumloadbalancerippools',
  namespaced: false,
};

/** Pools of addresses for pods, and which blocks of them a node has. */
export const CILIUM_POD_IP_POOL: Kind<CiliumPodIpPool> = {
  group: CILIUM_GROUP,
  version: 'v2alpha1',
  kind: 'CiliumPodIPPool',
  resource: 'ciliumpodippools',
  namespaced: false,
};
export const CILIUM_NODE: Kind<CiliumNode> = {
  group: CILIUM_GROUP,
  version: 'v2',
  kind: 'CiliumNode',
  resource: 'ciliumnodes',
  namespaced: false,
};
export const IP_RESERVATION: Kind<CalicoIpReservation> = calico('IPReservation', 'ipreservations', false);
export const CALICO_STORED_IP_RESERVATION: Kind<CalicoIpReservation> = {
  group: 'crd.projectcalico.org',
  version: 'v1',
  kind: 'IPReservation',
  resource: 'ipreservations',
  namespaced: false,
};

export const UPLINK_PROTECTION: Kind<UplinkProtection> = {
  group: 'heddle.dev',
  version: 'v1alpha1',
  kind: 'UplinkProtection',
  resource: 'uplinkprotections',
  namespaced: false,
};

export const apiVersionOf = (kind: Kind): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
