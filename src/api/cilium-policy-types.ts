/** `cilium.io/v2` CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup. */
import type { ICondition } from '@kubernetes-models/apimachinery/apis/meta/v1/Condition';
import type { ILabelSelector } from '@kubernetes-models/apimachinery/apis/meta/v1/LabelSelector';
import type { ObjectMeta } from './types.ts';

/** Keys may begin with the source of the label: `k8s:app`, `any:app`, `reserved:host`. */
export type EndpointSelector = ILabelSelector;

/** One of cidr, cidrGroupRef and cidrGroupSelector. */
export interface CiliumCidrRule {
  cidr?: string;
  except?: string[];
  cidrGroupRef?: string;
  cidrGroupSelector?: ILabelSelector;
}

/** Ranges that rules name by the group's name or labels. */
export interface CiliumCidrGroup {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumCIDRGroup';
  metadata: ObjectMeta;
  spec: { externalCIDRs: string[] };
}

export interface CiliumNameSelector {
  matchName?: string;
  matchPattern?: string;
}

export interface CiliumService {
  k8sService?: { serviceName?: string; namespace?: string };
  k8sServiceSelector?: { selector?: ILabelSelector; namespace?: string };
}

export interface CiliumPort {
  /** A number or a name; 0 or absent: every port. */
  port?: string;
  endPort?: number;
  /** TCP, UDP, SCTP, VRRP, IGMP, ANY (default): any of the first three. */
  protocol?: string;
}

export interface CiliumHeaderMatch {
  name: string;
  value?: string;
  mismatch?: string;
  secret?: { name: string; namespace?: string };
}

export interface CiliumHttpRule {
  path?: string;
  method?: string;
  host?: string;
  headers?: string[];
  headerMatches?: CiliumHeaderMatch[];
}

export interface CiliumKafkaRule {
  role?: string;
  apiKey?: string;
  apiVersion?: string;
  clientID?: string;
  topic?: string;
}

export interface CiliumL7Rules {
  http?: CiliumHttpRule[];
  kafka?: CiliumKafkaRule[];
  dns?: CiliumNameSelector[];
  l7proto?: string;
  l7?: unknown;
}

export interface CiliumPortRule {
  ports?: CiliumPort[];
  rules?: CiliumL7Rules;
  terminatingTLS?: unknown;
  originatingTLS?: unknown;
  serverNames?: string[];
  listener?: unknown;
}

export interface CiliumIcmpRule {
  fields?: { family?: string; type: number | string }[];
}

/** What a rule of either direction and verdict may say beside its peers. */
export interface CiliumRuleParts {
  toPorts?: CiliumPortRule[];
  icmps?: CiliumIcmpRule[];
  /** Of allowing rules. */
  authentication?: { mode: string };
}

export interface CiliumIngressRule extends CiliumRuleParts {
  fromEndpoints?: EndpointSelector[];
  fromEntities?: string[];
  fromCIDR?: string[];
  fromCIDRSet?: CiliumCidrRule[];
  fromNodes?: EndpointSelector[];
  fromGroups?: unknown[];
  fromRequires?: EndpointSelector[];
}

export interface CiliumEgressRule extends CiliumRuleParts {
  toEndpoints?: EndpointSelector[];
  toEntities?: string[];
  toCIDR?: string[];
  toCIDRSet?: CiliumCidrRule[];
  toNodes?: EndpointSelector[];
  toGroups?: unknown[];
  toRequires?: EndpointSelector[];
  toServices?: CiliumService[];
  /** Of allowing rules. */
  toFQDNs?: CiliumNameSelector[];
}

export interface CiliumRule {
  /** One of the two. */
  endpointSelector?: EndpointSelector;
  nodeSelector?: EndpointSelector;
  ingress?: CiliumIngressRule[];
  ingressDeny?: CiliumIngressRule[];
  egress?: CiliumEgressRule[];
  egressDeny?: CiliumEgressRule[];
  enableDefaultDeny?: { ingress?: boolean; egress?: boolean };
  labels?: { key: string; value?: string; source?: string }[];
  description?: string;
  log?: { value?: string };
}

interface CiliumPolicyBase {
  apiVersion: 'cilium.io/v2';
  metadata: ObjectMeta;
  spec?: CiliumRule;
  specs?: CiliumRule[];
  status?: { conditions?: ICondition[]; derivativePolicies?: unknown };
}

export interface CiliumNetworkPolicy extends CiliumPolicyBase {
  kind: 'CiliumNetworkPolicy';
}

export interface CiliumClusterwideNetworkPolicy extends CiliumPolicyBase {
  kind: 'CiliumClusterwideNetworkPolicy';
}
