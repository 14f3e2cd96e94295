/** What another language cannot say, and which flows may be decided otherwise for want of it. */
import type { Direction, PolicyRef } from '../decision.ts';

export interface Loss {
  readonly policy: PolicyRef;
  /** Within the object: `spec.ingress[0].from[1]` */
  readonly path: string;
  readonly message: string;
  /** Flows that meet the policy in this direction, with such an end on the other side. Nothing else changes. */
  readonly flows: LostFlows;
}

export interface LostFlows {
  readonly directions: readonly Direction[];
  /** `inside`: pods and nodes; `outside`: what is no pod, so nodes too. */
  readonly others: 'any' | 'inside' | 'outside';
}

export type Lose = (path: string, message: string, flows: LostFlows) => void;

export const BOTH: readonly Direction[] = ['ingress', 'egress'];

export const anybody = (...directions: Direction[]): LostFlows => ({
  directions: directions.length > 0 ? directions : BOTH,
  others: 'any',
});
