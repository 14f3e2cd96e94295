/**
 * How lists merge, written by hand from the Kubernetes API reference (the "patch strategy" and "patch merge
 * key" notes, and the map keys of server-side apply): the type files do not say.
 */
export interface ListRule {
  /** `merge` joins items by `key`, or as a set when there is no key; `retainKeys` drops fields not named. */
  readonly strategy: 'merge' | 'retainKeys' | 'merge,retainKeys';
  readonly key?: string;
  /** Where apply tells items apart by more than the merge key. */
  readonly mapKeys?: readonly string[];
}

const by = (key: string, ...more: string[]): ListRule => ({
  strategy: 'merge',
  key,
  mapKeys: [key, ...more],
});
const retain = (key: string): ListRule => ({ strategy: 'merge,retainKeys', key, mapKeys: [key] });
const set: ListRule = { strategy: 'merge' };

const CONTAINER: Readonly<Record<string, ListRule>> = {
  ports: by('containerPort', 'protocol'),
  env: by('name'),
  volumeMounts: by('mountPath'),
  volumeDevices: by('devicePath'),
};
const CONDITIONS = { conditions: by('type') };

const RULES: Readonly<Record<string, Readonly<Record<string, ListRule>>>> = {
  'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta': { ownerReferences: by('uid'), finalizers: set },
  'io.k8s.api.core.v1.PodSpec': {
    containers: by('name'),
    initContainers: by('name'),
    ephemeralContainers: by('name'),
    volumes: retain('name'),
    imagePullSecrets: by('name'),
    hostAliases: by('ip'),
    topologySpreadConstraints: by('topologyKey', 'whenUnsatisfiable'),
    schedulingGates: by('name'),
    resourceClaims: retain('name'),
  },
  'io.k8s.api.core.v1.Container': CONTAINER,
  'io.k8s.api.core.v1.EphemeralContainer': CONTAINER,
  'io.k8s.api.core.v1.PodStatus': {
    ...CONDITIONS,
    podIPs: by('ip'),
    hostIPs: by('ip'),
    resourceClaimStatuses: retain('name'),
  },
  'io.k8s.api.core.v1.ServiceSpec': { ports: by('port', 'protocol') },
  'io.k8s.api.core.v1.ServiceStatus': CONDITIONS,
  'io.k8s.api.core.v1.ServiceAccount': { secrets: by('name') },
  'io.k8s.api.core.v1.NodeSpec': { podCIDRs: set },
  'io.k8s.api.core.v1.NodeStatus': { ...CONDITIONS, addresses: by('type') },
  'io.k8s.api.core.v1.NamespaceStatus': CONDITIONS,
  'io.k8s.api.cilium.io.v2alpha1.CiliumLoadBalancerIPPoolStatus': CONDITIONS,
  'io.k8s.api.cilium.io.v2.CiliumNetworkPolicyStatus': CONDITIONS,
  'io.k8s.api.cilium.io.v2.CiliumBGPClusterConfigSpec': { bgpInstances: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPInstance': { peers: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPClusterConfigStatus': CONDITIONS,
  'io.k8s.api.cilium.io.v2.CiliumBGPPeerConfigStatus': CONDITIONS,
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeSpec': { bgpInstances: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeInstance': { peers: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeStatus': { ...CONDITIONS, bgpInstances: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeInstanceStatus': { peers: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeConfigOverrideSpec': { bgpInstances: by('name') },
  'io.k8s.api.cilium.io.v2.CiliumBGPNodeConfigInstanceOverride': { peers: by('name') },
  'io.k8s.api.policy.networking.v1alpha1.AdminNetworkPolicyStatus': CONDITIONS,
  'io.k8s.api.policy.networking.v1alpha1.BaselineAdminNetworkPolicyStatus': CONDITIONS,
  'io.k8s.api.policy.networking.v1alpha2.ClusterNetworkPolicyStatus': CONDITIONS,
  'io.k8s.api.security.istio.io.v1.IstioStatus': CONDITIONS,
  'io.k8s.api.apps.v1.DeploymentSpec': { strategy: { strategy: 'retainKeys' } },
  'io.k8s.api.apps.v1.DeploymentStatus': CONDITIONS,
  'io.k8s.api.apps.v1.ReplicaSetStatus': CONDITIONS,
};

/** Lists that are sets or atomic for server-side apply without a rule for strategic merge. */
const LIST_TYPES: Readonly<Record<string, Readonly<Record<string, 'atomic' | 'set'>>>> = {
  'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta': { finalizers: 'set', managedFields: 'atomic' },
  'io.k8s.api.core.v1.PodSpec': { tolerations: 'atomic' },
  'io.k8s.api.core.v1.NodeSpec': { podCIDRs: 'set', taints: 'atomic' },
  'io.k8s.api.core.v1.ServiceSpec': { clusterIPs: 'atomic', ipFamilies: 'atomic', externalIPs: 'atomic' },
  'io.k8s.api.policy.networking.v1alpha1.AdminNetworkPolicyEgressPeer': {
    networks: 'set',
    domainNames: 'set',
  },
  'io.k8s.api.policy.networking.v1alpha2.ClusterNetworkPolicyEgressPeer': {
    networks: 'set',
    domainNames: 'set',
  },
  'io.k8s.api.discovery.v1.EndpointSlice': { endpoints: 'atomic', ports: 'atomic' },
};

export const listRule = (definition: string, field: string): ListRule | undefined =>
  Object.hasOwn(RULES, definition) && Object.hasOwn(RULES[definition] ?? {}, field)
    ? RULES[definition]?.[field]
    : undefined;

export const listType = (definition: string, field: string): 'atomic' | 'set' | undefined =>
  Object.hasOwn(LIST_TYPES, definition) ? LIST_TYPES[definition]?.[field] : undefined;

/** All rules, for a test that holds them against the field lists. */
export const allRules = (): [definition: string, field: string, rule: ListRule][] =>
  Object.entries(RULES).flatMap(([name, fields]) =>
    Object.entries(fields).map(([field, rule]): [string, string, ListRule] => [name, field, rule]),
  );
