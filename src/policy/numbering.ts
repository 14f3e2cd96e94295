/**
 * The numbers of rules and default denies. They are drawn over the whole world, also where only a part of it is
 * compiled, so that a collision is resolved alike by every agent.
 */
import { type Direction, type PolicyRef, policyText, type RuleRef, ruleText } from './decision.ts';
import { assignNumbers } from './numbers.ts';
import type { PodGroup } from './roles.ts';
import type { Scene } from './scene.ts';

export interface Numbering {
  rule(ref: RuleRef): number;
  defaultDeny(direction: Direction, policies: readonly PolicyRef[]): number;
}

export function numberRules(scene: Scene, groups: readonly PodGroup[]): Numbering {
  const rules = scene.policies.flatMap((policy) => policy.rules.map((rule) => ruleText(rule.ref)));
  const defaults = new Set<string>();
  for (const { isolatedBy } of groups)
    for (const direction of ['ingress', 'egress'] as const)
      if (isolatedBy[direction].length > 0)
        defaults.add(
          defaultDenyText(
            direction,
            isolatedBy[direction].map((policy) => policy.ref),
          ),
        );
  const numbers = assignNumbers([...rules, ...defaults]);
  const find = (text: string): number => {
    const number = numbers.get(text);
    // Not reachable: both sets were drawn from the same scene.
    if (number === undefined) throw new Error(`no number for ${text}`);
    return number;
  };
  return {
    rule: (ref) => find(ruleText(ref)),
    defaultDeny: (direction, policies) => find(defaultDenyText(direction, policies)),
  };
}

/** `default deny ingress: NetworkPolicy payments/default-deny, NetworkPolicy payments/vault` */
export const defaultDenyText = (direction: Direction, policies: readonly PolicyRef[]): string =>
  `default deny ${direction}: ${policies.map(policyText).join(', ')}`;
