/**
 * The numbers of rules and default denies. They are drawn over the whole world, also where only a part of it is
 * compiled, so that a collision is resolved alike by every agent.
 */
import { type Direction, type PolicyRef, policyText, type RuleRef, ruleKey } from './decision.ts';
import { isolationOf } from './isolation.ts';
import type { Policy, Rule } from './model.ts';
import { createNumberer, ruleHash } from './numbers.ts';
import type { GroupDifference, PodGroup, PolicyDifference } from './roles.ts';
import type { Scene } from './scene.ts';

export interface Numbering {
  rule(ref: RuleRef): number;
  /** 0 without policies. */
  defaultDeny(direction: Direction, policies: readonly PolicyRef[]): number;
  /** Grows when a number that was given may be another one now. */
  epoch(): number;
}

export function numberRules(scene: Scene, groups: readonly PodGroup[]): Numbering {
  return createNumbering().update({ gone: [], come: scene.policies }, { groups, gone: [], come: groups });
}

export interface RuleNumberer {
  update(policies: PolicyDifference, groups: GroupDifference): Numbering;
}

/** Draws over a world that changes a little at a time. */
export function createNumbering(): RuleNumberer {
  const numberer = createNumberer(ruleHash);
  const numbering: Numbering = {
    rule: (ref) => numberer.number(ruleKey(ref)),
    defaultDeny: (direction, policies) =>
      policies.length === 0 ? 0 : numberer.number(defaultDenyText(direction, policies)),
    epoch: numberer.epoch,
  };
  const each = (changed: readonly Policy[], groups: readonly PodGroup[], use: (text: string) => void) => {
    for (const rule of changed.flatMap(({ rules }) => rules)) {
      use(ruleKey(rule.ref));
      if (isConditional(rule)) use(ruleKey(closedRef(rule.ref)));
    }
    for (const { concernedBy } of groups)
      for (const direction of ['ingress', 'egress'] as const) {
        const { enforced, audited } = isolationOf(concernedBy[direction], direction);
        for (const { policies } of enforced.tiers) use(defaultDenyText(direction, policies));
        if (audited !== enforced)
          for (const { policies } of audited.tiers) use(defaultDenyText(direction, policies));
      }
  };
  return {
    update(policies, groups) {
      each(policies.come, groups.come, numberer.retain);
      each(policies.gone, groups.gone, numberer.release);
      return numbering;
    },
  };
}

/** `default deny ingress: NetworkPolicy payments/default-deny, NetworkPolicy payments/vault` */
export const defaultDenyText = (direction: Direction, policies: readonly PolicyRef[]): string =>
  `default deny ${direction}: ${policies.map(policyText).join(', ')}`;

/** Allows what comes only by its requests, or with a proof. */
export const isConditional = ({ verdict, l7, auth }: Rule): boolean =>
  verdict === 'allow' && (l7 !== undefined || auth !== undefined);

/** Of a rule that denies instead, where a table has no room for what it asks (table-limit.ts). */
export const closedRef = (ref: RuleRef): RuleRef => ({ ...ref, path: `${ref.path} (no room)` });
