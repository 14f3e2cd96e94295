/**
 * The Kubernetes kinds that Heddle acts on, as Kubernetes 1.35 writes them on the wire. Field lists come from
 * the kubernetes-models package; here they only gain what an object read from an API server always has.
 */
import type { IObjectMeta } from '@kubernetes-models/apimachinery/apis/meta/v1/ObjectMeta';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IReplicaSet } from 'kubernetes-models/apps/v1/ReplicaSet';
import type { ICondition } from '@kubernetes-models/apimachinery/apis/meta/v1/Condition';
import type { ILabelSelector } from '@kubernetes-models/apimachinery/apis/meta/v1/LabelSelector';
import type { ILease } from 'kubernetes-models/coordination.k8s.io/v1/Lease';
import type { IEndpointSlice } from 'kubernetes-models/discovery.k8s.io/v1/EndpointSlice';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { IEvent } from 'kubernetes-models/v1/Event';
import type { INamespace } from 'kubernetes-models/v1/Namespace';
import type { INode } from 'kubernetes-models/v1/Node';
import type { IPod } from 'kubernetes-models/v1/Pod';
import type { ISecret } from 'kubernetes-models/v1/Secret';
import type { IService } from 'kubernetes-models/v1/Service';
import type { IServiceAccount } from 'kubernetes-models/v1/ServiceAccount';

export type ObjectMeta = IObjectMeta & { name: string };

/** An object with its name known. Cluster-scoped kinds have no namespace. */
export type Named<T> = Omit<T, 'metadata'> & { metadata: ObjectMeta };

export type Namespace = Named<INamespace>;
export type Node = Named<INode>;
export type Pod = Named<IPod>;
export type Service = Named<IService>;
export type EndpointSlice = Named<IEndpointSlice>;
export type ConfigMap = Named<IConfigMap>;
export type Secret = Named<ISecret>;
export type ServiceAccount = Named<IServiceAccount>;
export type Deployment = Named<IDeployment>;
export type ReplicaSet = Named<IReplicaSet>;
export type NetworkPolicy = Named<INetworkPolicy>;
export type Event = Named<IEvent>;

export type Lease = Named<ILease>;

/** `cilium.io/v2alpha1` CiliumLoadBalancerIPPool. */
export interface LoadBalancerIpPool {
  apiVersion: 'cilium.io/v2alpha1';
  kind: 'CiliumLoadBalancerIPPool';
  metadata: ObjectMeta;
  spec: {
    blocks?: { cidr?: string; start?: string; stop?: string }[];
    disabled?: boolean;
    serviceSelector?: ILabelSelector;
    allowFirstLastIPs?: string;
  };
  status?: { conditions?: ICondition[] };
}

/** At most `perSecond`, and at most `burst` at once. */
export interface RateLimit {
  perSecond: number;
  /** Absent: as many as a second brings. */
  burst?: number;
}

/** `heddle.dev/v1alpha1` UplinkProtection. */
export interface UplinkProtection {
  apiVersion: 'heddle.dev/v1alpha1';
  kind: 'UplinkProtection';
  metadata: ObjectMeta;
  spec: {
    nodeSelector?: ILabelSelector;
    denied?: string[];
    limits?: { packets?: RateLimit; connections?: RateLimit; allConnections?: RateLimit };
  };
}

/** What a cluster-wide policy applies to: one of the two. */
export interface PolicySubject {
  namespaces?: ILabelSelector;
  pods?: NamespacedPods;
}

export interface NamespacedPods {
  namespaceSelector?: ILabelSelector;
  podSelector?: ILabelSelector;
}

/** One of them. The last three for egress alone. */
export interface ClusterPolicyPeer {
  namespaces?: ILabelSelector;
  pods?: NamespacedPods;
  nodes?: ILabelSelector;
  networks?: string[];
  domainNames?: string[];
}

export interface ClusterPolicyRule {
  name?: string;
  action: string;
  /** Of ingress rules. */
  from?: ClusterPolicyPeer[];
  /** Of egress rules. */
  to?: ClusterPolicyPeer[];
}

/** One of them. */
export interface AdminPolicyPort {
  portNumber?: { protocol?: string; port: number };
  portRange?: { protocol?: string; start: number; end: number };
  namedPort?: string;
}

export interface AdminPolicyRule extends ClusterPolicyRule {
  ports?: AdminPolicyPort[];
}

/** `policy.networking.k8s.io/v1alpha1` AdminNetworkPolicy. */
export interface AdminNetworkPolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha1';
  kind: 'AdminNetworkPolicy';
  metadata: ObjectMeta;
  spec: { priority: number; subject: PolicySubject; ingress?: AdminPolicyRule[]; egress?: AdminPolicyRule[] };
  status?: { conditions?: ICondition[] };
}

/** `policy.networking.k8s.io/v1alpha1` BaselineAdminNetworkPolicy. */
export interface BaselineAdminNetworkPolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha1';
  kind: 'BaselineAdminNetworkPolicy';
  metadata: ObjectMeta;
  spec: { subject: PolicySubject; ingress?: AdminPolicyRule[]; egress?: AdminPolicyRule[] };
  status?: { conditions?: ICondition[] };
}

/** A port or a range, of one protocol; or a name. One of them. */
export interface ClusterNetworkPolicyProtocol {
  tcp?: { destinationPort?: PortOrRange };
  udp?: { destinationPort?: PortOrRange };
  sctp?: { destinationPort?: PortOrRange };
  destinationNamedPort?: string;
}

export interface PortOrRange {
  number?: number;
  range?: { start: number; end: number };
}

export interface ClusterNetworkPolicyRule extends ClusterPolicyRule {
  protocols?: ClusterNetworkPolicyProtocol[];
}

/** `policy.networking.k8s.io/v1alpha2` ClusterNetworkPolicy. */
export interface ClusterNetworkPolicy {
  apiVersion: 'policy.networking.k8s.io/v1alpha2';
  kind: 'ClusterNetworkPolicy';
  metadata: ObjectMeta;
  spec: {
    tier: string;
    priority: number;
    subject: PolicySubject;
    ingress?: ClusterNetworkPolicyRule[];
    egress?: ClusterNetworkPolicyRule[];
  };
  status?: { conditions?: ICondition[] };
}

/** Any object on the wire. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}
