/** Objects of `security.istio.io/v1`. Fields that have no list are not there, or empty. */
import type { ICondition } from '@kubernetes-models/apimachinery/apis/meta/v1/Condition';
import type { ObjectMeta } from './types.ts';

/** Pods by their labels; absent: all of the namespace, or of the mesh in the root namespace. */
export interface WorkloadSelector {
  matchLabels?: Record<string, string>;
}

export interface PolicyTargetReference {
  group?: string;
  kind?: string;
  name?: string;
  namespace?: string;
}

export interface IstioSource {
  principals?: string[];
  notPrincipals?: string[];
  requestPrincipals?: string[];
  notRequestPrincipals?: string[];
  namespaces?: string[];
  notNamespaces?: string[];
  serviceAccounts?: string[];
  notServiceAccounts?: string[];
  ipBlocks?: string[];
  notIpBlocks?: string[];
  remoteIpBlocks?: string[];
  notRemoteIpBlocks?: string[];
}

export interface IstioOperation {
  hosts?: string[];
  notHosts?: string[];
  ports?: string[];
  notPorts?: string[];
  methods?: string[];
  notMethods?: string[];
  paths?: string[];
  notPaths?: string[];
}

export interface IstioCondition {
  key?: string;
  values?: string[];
  notValues?: string[];
}

export interface AuthorizationRule {
  from?: { source?: IstioSource }[];
  to?: { operation?: IstioOperation }[];
  when?: IstioCondition[];
}

export interface AuthorizationPolicy {
  apiVersion: 'security.istio.io/v1';
  kind: 'AuthorizationPolicy';
  metadata: ObjectMeta;
  spec?: {
    selector?: WorkloadSelector;
    targetRef?: PolicyTargetReference;
    targetRefs?: PolicyTargetReference[];
    /** Absent: ALLOW. */
    action?: string;
    provider?: { name?: string };
    rules?: AuthorizationRule[];
  };
  status?: IstioStatus;
}

export interface MutualTls {
  /** Absent: UNSET. */
  mode?: string;
}

export interface PeerAuthentication {
  apiVersion: 'security.istio.io/v1';
  kind: 'PeerAuthentication';
  metadata: ObjectMeta;
  spec?: {
    selector?: WorkloadSelector;
    mtls?: MutualTls;
    /** By port of the pod. */
    portLevelMtls?: Record<string, MutualTls>;
  };
  status?: IstioStatus;
}

export interface IstioStatus {
  conditions?: ICondition[];
  observedGeneration?: number;
}
