/** The answer to "may this flow pass?": one verdict, made of what each end's enforcement point says. */
import type { MeshSide } from './mesh/side.ts';

export type Direction = 'ingress' | 'egress';

/**
 * Verdicts of a table entry. `audit-deny`: it passes, and would not if what is audited were enforced. `redirect`: a
 * proxy decides, request by request. `auth-required`: it passes once both ends have proved who they are. A data path
 * without a proxy denies what it cannot hand over.
 */
export type Verdict = 'allow' | 'deny' | 'audit-deny' | 'redirect' | 'auth-required';

export interface PolicyRef {
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  /** Of an object that holds several policies, which of them: `specs[1]`. Rules have their path instead. */
  readonly part?: string;
}

export interface RuleRef extends PolicyRef {
  readonly direction: Direction;
  /** Place in the policy's list of rules of this direction. */
  readonly index: number;
  /** Where the rule is written in its object: `spec.ingress[0]`. */
  readonly path: string;
  /** What its author calls it, in languages where rules have names. */
  readonly title?: string;
}

export type Reason =
  /** This end is no pod, so nothing is enforced at it. */
  | 'not-a-pod'
  /** A pod to itself. */
  | 'self'
  /** Between a pod and its own node. */
  | 'own-node'
  /** No policy says anything of the pod in this direction. */
  | 'not-isolated'
  /** Policies do, but no rule decides this and nothing isolates the pod. */
  | 'no-rule'
  | 'rule'
  /** The connection passes, but no rule for requests on it matches this one. `rule` is the first of those. */
  | 'request'
  | 'default-deny';

/** How two ends prove who they are before a connection passes. The latter always fails, for tests of what then happens. */
export type Authentication = 'required' | 'test-always-fail';

export interface Side {
  readonly verdict: 'allow' | 'deny';
  readonly reason: Reason;
  readonly isolated: boolean;
  /** Enforced policies of all tiers that isolate the pod in this direction, ordered by (kind, namespace, name). */
  readonly isolatedBy: readonly PolicyRef[];
  /** Of a default deny: those of them whose tier it is. */
  readonly closedBy?: readonly PolicyRef[] | undefined;
  /** The deciding rule: the least matching by (tier, priority, namespace, name, index) that no `pass` leaves out. */
  readonly rule?: RuleRef | undefined;
  /** Number of the deciding rule or of the default deny, as counters and logs give it; 0 if neither. */
  readonly ruleNumber: number;
  /** Allowed as a connection; whether a request passes, rules for requests say. */
  readonly redirect?: true | undefined;
  /** Allowed, if the ends prove who they are so. */
  readonly auth?: Authentication | undefined;
  /** Rules that only log, asked before one decided. */
  readonly logged?: readonly RuleRef[] | undefined;
  /** What it would be if everything audited were enforced; the same where nothing is. */
  readonly audit: Outcome;
}

export interface Outcome {
  readonly verdict: 'allow' | 'deny';
  readonly rule?: RuleRef | undefined;
  readonly ruleNumber: number;
}

export interface Decision {
  /** Deny if a side denies. A flow that egress denies never reaches the ingress side, nor one of those the mesh's. */
  readonly verdict: 'allow' | 'deny';
  /** Likewise, of what the sides say under audit. */
  readonly audit: 'allow' | 'deny';
  readonly egress: Side;
  readonly ingress: Side;
  /** What the proxy of the destination says; absent where nothing is said of the mesh. */
  readonly mesh?: MeshSide | undefined;
}

export function decisionOf(egress: Side, ingress: Side, mesh?: MeshSide): Decision {
  const verdict = both(both(egress.verdict, ingress.verdict), mesh?.verdict);
  const audit = both(both(egress.audit.verdict, ingress.audit.verdict), mesh?.audit.verdict);
  return mesh ? { verdict, audit, egress, ingress, mesh } : { verdict, audit, egress, ingress };
}

type AllowOrDeny = Outcome['verdict'];

const both = (one: AllowOrDeny, other: AllowOrDeny = 'allow'): AllowOrDeny => (one === 'allow' ? other : one);

export const policyText = (ref: PolicyRef): string =>
  `${ref.kind} ${ref.namespace === '' ? ref.name : `${ref.namespace}/${ref.name}`}${ref.part === undefined ? '' : ` ${ref.part}`}`;

/** `NetworkPolicy payments/allow-web spec.ingress[0]`: which rule it is, whatever it says. */
export const ruleKey = (ref: RuleRef): string => `${policyText(ref)} ${ref.path}`;

/** For people: `AdminNetworkPolicy monitoring spec.ingress[0] (scrape)` */
export const ruleText = (ref: RuleRef): string =>
  ref.title === undefined ? ruleKey(ref) : `${ruleKey(ref)} (${ref.title})`;
