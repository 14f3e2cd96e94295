/** The answer to "may this flow pass?": one verdict, made of what each end's enforcement point says. */

export type Direction = 'ingress' | 'egress';

/** Verdicts of a table entry. The last three are reserved: nothing yields them yet. */
export type Verdict = 'allow' | 'deny' | 'audit-deny' | 'redirect' | 'auth-required';

export interface PolicyRef {
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
}

export interface RuleRef extends PolicyRef {
  readonly direction: Direction;
  /** Place in the policy's list of rules of this direction. */
  readonly index: number;
  /** Where the rule is written in its object: `spec.ingress[0]`. */
  readonly path: string;
}

export type Reason =
  /** This end is no pod, so nothing is enforced at it. */
  | 'not-a-pod'
  /** A pod to itself. */
  | 'self'
  /** Between a pod and its own node. */
  | 'own-node'
  /** No policy selects the pod in this direction. */
  | 'not-isolated'
  | 'rule'
  | 'default-deny';

export interface Side {
  readonly verdict: 'allow' | 'deny';
  readonly reason: Reason;
  readonly isolated: boolean;
  /** Policies that isolate the pod in this direction, ordered by (kind, namespace, name). */
  readonly isolatedBy: readonly PolicyRef[];
  /** The deciding rule: the least matching by (tier, priority, namespace, name, index). */
  readonly rule?: RuleRef | undefined;
  /** Number of the deciding rule or of the default deny, as counters and logs give it; 0 if neither. */
  readonly ruleNumber: number;
}

export interface Decision {
  /** Deny if either side denies. A flow that egress denies never reaches the ingress side. */
  readonly verdict: 'allow' | 'deny';
  readonly egress: Side;
  readonly ingress: Side;
}

export const policyText = (ref: PolicyRef): string =>
  `${ref.kind} ${ref.namespace === '' ? ref.name : `${ref.namespace}/${ref.name}`}`;

/** `NetworkPolicy payments/allow-web spec.ingress[0]` */
export const ruleText = (ref: RuleRef): string => `${policyText(ref)} ${ref.path}`;
