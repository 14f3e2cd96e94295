/** The objects of all policy languages, and how each is lowered. */
import { type CalicoPolicy, isCalico } from '../api/calico-types.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  NetworkPolicy,
  ObjectMeta,
} from '../api/types.ts';
import { errorText } from '../lib/errors.ts';
import { lowerAdminNetworkPolicy, lowerBaselineAdminNetworkPolicy } from './language/admin-network-policy.ts';
import { CALICO_NETWORK_POLICY_KIND, lowerCalicoPolicy } from './language/calico-policy.ts';
import { type CiliumPolicyObject, lowerCiliumPolicy } from './language/cilium-policy.ts';
import { lowerClusterNetworkPolicy } from './language/cluster-network-policy.ts';
import { lowerNetworkPolicy } from './language/network-policy.ts';
import { type Policy, policyOf } from './model.ts';
import { podPeer } from './peers.ts';
import { everything } from './selector.ts';
import type { Stage } from './stage.ts';
import { TIERS } from './tiers.ts';
import type { Surroundings } from './world.ts';

export type ClusterPolicyObject = AdminNetworkPolicy | BaselineAdminNetworkPolicy | ClusterNetworkPolicy;

/** Told apart by `kindOf`; an object without a kind, as a list of NetworkPolicies has them, is a NetworkPolicy. */
export type PolicyObject =
  | NetworkPolicy
  | ClusterPolicyObject
  | CiliumPolicyObject
  | CalicoPolicy
  | LoweredObject;

/** Policies of the model itself, of no language that is stored: who makes policies for a question has no need of one. */
export interface LoweredObject {
  readonly apiVersion: string;
  readonly kind: 'Lowered';
  readonly metadata: ObjectMeta;
  readonly spec?: never;
  readonly policies: readonly Policy[];
}

/** As references to it have it: where two groups have a kind of one name, with the group of the other. */
export const kindOf = (object: PolicyObject): string =>
  isCalicoPolicy(object) && object.kind === 'NetworkPolicy'
    ? CALICO_NETWORK_POLICY_KIND
    : (object.kind ?? 'NetworkPolicy');

/** Of networking.k8s.io. */
export const isNetworkPolicy = (object: PolicyObject): object is NetworkPolicy =>
  kindOf(object) === 'NetworkPolicy';

export const isCalicoPolicy = (object: PolicyObject): object is CalicoPolicy =>
  isCalico({ apiVersion: object.apiVersion ?? '' });

/**
 * `inherited`: the stage of the object's namespace; `surroundings`: what languages in READS_SURROUNDINGS may read. Of
 * some languages an object holds several policies. One that is not even of the form of its kind, which no API server
 * stores, is for nobody: what else there is is decided all the same.
 */
export function lowerPolicies(
  object: PolicyObject,
  inherited?: Stage,
  surroundings: Surroundings = {},
): readonly Policy[] {
  try {
    return lower(object, inherited, surroundings);
  } catch (error) {
    const ref = {
      kind: kindOf(object),
      namespace: namespaceOf(object),
      name: object.metadata.name,
    };
    const message = `is not of the form of its kind: ${errorText(error)}`;
    const subject = podPeer({ name: '' }, everything);
    const isolates = { ingress: false, egress: false };
    const problems = [{ policy: ref, path: 'spec', message }];
    const tier = TIERS.default;
    return [policyOf({ ref, stage: 'enforce', subject, tier, isolates, rules: [], problems })];
  }
}

/** The first of them. */
export const lowerPolicy = (...args: Parameters<typeof lowerPolicies>): Policy => lowerPolicies(...args)[0]!;

function lower(
  object: PolicyObject,
  inherited: Stage | undefined,
  surroundings: Surroundings,
): readonly Policy[] {
  if (isCalicoPolicy(object)) return lowerCalicoPolicy(object, inherited, surroundings);
  switch (object.kind) {
    case 'AdminNetworkPolicy':
      return [lowerAdminNetworkPolicy(object)];
    case 'BaselineAdminNetworkPolicy':
      return [lowerBaselineAdminNetworkPolicy(object)];
    case 'ClusterNetworkPolicy':
      return [lowerClusterNetworkPolicy(object)];
    case 'CiliumNetworkPolicy':
    case 'CiliumClusterwideNetworkPolicy':
      return lowerCiliumPolicy(object, inherited, surroundings);
    case 'Lowered':
      return object.policies;
    default:
      return [lowerNetworkPolicy(object, inherited)];
  }
}

const CLUSTER_WIDE: ReadonlySet<string> = new Set<PolicyObject['kind']>([
  'CiliumClusterwideNetworkPolicy',
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'ClusterNetworkPolicy',
  'GlobalNetworkPolicy',
]);

/** Kinds whose meaning depends on `World.surroundings`. */
export const READS_SURROUNDINGS: ReadonlySet<string> = new Set([
  CALICO_NETWORK_POLICY_KIND,
  'GlobalNetworkPolicy',
  'CiliumNetworkPolicy',
  'CiliumClusterwideNetworkPolicy',
]);

/** Empty for cluster-wide kinds. */
export const namespaceOf = ({ kind, metadata }: PolicyObject): string =>
  CLUSTER_WIDE.has(kind) ? '' : (metadata.namespace ?? 'default');

/** Objects with the same key are versions of one object. */
export const objectKey = (object: PolicyObject): string =>
  `${kindOf(object)} ${namespaceOf(object)}/${object.metadata.name}`;
