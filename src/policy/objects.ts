/** The objects of all policy languages, and how each is lowered. */
import type { NetworkPolicy } from '../api/types.ts';
import { lowerNetworkPolicy } from './language/network-policy.ts';
import type { Policy } from './model.ts';
import type { Stage } from './stage.ts';

export type PolicyObject = NetworkPolicy;

/** `inherited`: the stage of the object's namespace. */
export function lowerPolicy(object: PolicyObject, inherited?: Stage): Policy {
  return lowerNetworkPolicy(object, inherited);
}

/** Empty for cluster-wide kinds. */
export const namespaceOf = ({ metadata }: PolicyObject): string => metadata.namespace ?? 'default';

/** Objects with the same key are versions of one object. */
export const objectKey = (object: PolicyObject): string =>
  `${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;
