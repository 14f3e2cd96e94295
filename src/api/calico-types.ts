/** The kinds of projectcalico.org/v3 that say who may reach whom. */
import type { KubeObject, ObjectMeta } from './types.ts';

export const CALICO_GROUP = 'projectcalico.org';
/** Of the same objects as custom resources of a cluster, which is how `kubectl get -o yaml` may show them. */
export const CALICO_CRD_GROUP = 'crd.projectcalico.org';
type CalicoVersion = 'projectcalico.org/v3' | 'crd.projectcalico.org/v1';

export interface CalicoIcmp {
  type?: number;
  code?: number;
}

/** One end of a connection; all of what is given must hold. */
export interface CalicoEntityRule {
  nets?: string[];
  notNets?: string[];
  selector?: string;
  notSelector?: string;
  namespaceSelector?: string;
  /** Numbers, ranges `80:90`, names. */
  ports?: (number | string)[];
  notPorts?: (number | string)[];
  serviceAccounts?: { names?: string[]; selector?: string };
  services?: { name?: string; namespace?: string };
}

export interface CalicoRule {
  action: string;
  ipVersion?: number;
  protocol?: number | string;
  notProtocol?: number | string;
  icmp?: CalicoIcmp;
  notICMP?: CalicoIcmp;
  source?: CalicoEntityRule;
  destination?: CalicoEntityRule;
  http?: { methods?: string[]; paths?: { exact?: string; prefix?: string }[] };
  metadata?: { annotations?: Record<string, string> };
}

export interface CalicoPolicySpec {
  tier?: string;
  order?: number;
  selector?: string;
  serviceAccountSelector?: string;
  types?: string[];
  ingress?: CalicoRule[];
  egress?: CalicoRule[];
  performanceHints?: string[];
}

export interface CalicoGlobalPolicySpec extends CalicoPolicySpec {
  namespaceSelector?: string;
  doNotTrack?: boolean;
  preDNAT?: boolean;
  applyOnForward?: boolean;
}

export interface CalicoNetworkPolicy {
  apiVersion: CalicoVersion;
  kind: 'NetworkPolicy';
  metadata: ObjectMeta;
  spec: CalicoPolicySpec;
}

export interface CalicoGlobalNetworkPolicy {
  apiVersion: CalicoVersion;
  kind: 'GlobalNetworkPolicy';
  metadata: ObjectMeta;
  spec: CalicoGlobalPolicySpec;
}

export interface CalicoTier {
  apiVersion: CalicoVersion;
  kind: 'Tier';
  metadata: ObjectMeta;
  spec: { order?: number; defaultAction?: string };
}

/** Ranges under labels, which selectors of rules select like pods. */
export interface CalicoNetworkSet {
  apiVersion: CalicoVersion;
  kind: 'NetworkSet';
  metadata: ObjectMeta;
  spec: { nets?: string[] };
}

export interface CalicoGlobalNetworkSet {
  apiVersion: CalicoVersion;
  kind: 'GlobalNetworkSet';
  metadata: ObjectMeta;
  spec: { nets?: string[] };
}

export type CalicoPolicy = CalicoNetworkPolicy | CalicoGlobalNetworkPolicy;

/** Of either group. */
export const isCalico = ({ apiVersion }: Pick<KubeObject, 'apiVersion'>): boolean => {
  const group = apiVersion?.split('/')[0];
  return group === CALICO_GROUP || group === CALICO_CRD_GROUP;
};
