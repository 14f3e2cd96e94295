/**
 * Which table each pod has: pods with the same policies, and the same meaning of their port names, share one.
 * Pods of which no policy says anything have none.
 */
import type { Role } from './build-table.ts';
import { type Direction, policyText } from './decision.ts';
import { isEnforced, isolationOf } from './isolation.ts';
import { compareRules, type Policy, type Rule } from './model.ts';
import { namedPortsText, namesIn, resolveNames } from './named-ports.ts';
import { createNumberer } from './numbers.ts';
import { sameItems } from './policy-list.ts';
import type { GroupDifference, PodGroup } from './roles.ts';
import type { WorldPod } from './world.ts';

/** Over all pods, also those not compiled, so that a number never depends on the node. */
export function createRoles() {
  const numberer = createNumberer();
  const ofGroup = new Map<PodGroup, Role[]>();
  const byPod: Record<Direction, Map<WorldPod, Role>> = { ingress: new Map(), egress: new Map() };
  const byText = new Map<string, { role: Role; groups: number }>();

  function retain(role: Role): Role {
    const known = byText.get(role.text);
    // A text names policies; what they say may be new.
    const same = known !== undefined && sameItems(known.role.policies, role.policies);
    byText.set(role.text, { role: same ? known.role : role, groups: (known?.groups ?? 0) + 1 });
    numberer.retain(role.text);
    return same ? known.role : role;
  }

  function release(role: Role): void {
    numberer.release(role.text);
    const known = byText.get(role.text);
    if (known && known.groups > 1) byText.set(role.text, { ...known, groups: known.groups - 1 });
    else byText.delete(role.text);
  }

  function add(group: PodGroup): void {
    const roles = new Map<string, Role>();
    for (const direction of ['ingress', 'egress'] as const) {
      const policies = group.concernedBy[direction];
      if (policies.length === 0) continue;
      const rules = rulesOf(policies, direction);
      const audited = auditedIn(policies, direction);
      const isolation = isolationOf(policies, direction);
      const names = direction === 'ingress' ? rules.flatMap(namesIn) : [];
      const selected = policies.map((policy) => policyText(policy.ref)).join(', ');
      for (const pod of group.pods) {
        const named = resolveNames(names, pod);
        const text = `${direction} of ${selected} # ${namedPortsText(named)}`;
        const role =
          roles.get(text) ?? retain({ text, direction, policies, isolation, rules, audited, named });
        roles.set(text, role);
        byPod[direction].set(pod, role);
      }
    }
    ofGroup.set(group, [...roles.values()]);
  }

  return {
    update({ gone, come }: GroupDifference): void {
      for (const group of gone) {
        for (const role of ofGroup.get(group) ?? []) release(role);
        ofGroup.delete(group);
        for (const pod of group.pods) for (const roles of Object.values(byPod)) roles.delete(pod);
      }
      for (const group of come) add(group);
    },
    roleOf: (pod: WorldPod, direction: Direction): Role | undefined => byPod[direction].get(pod),
    number: (role: Role): number => numberer.number(role.text),
  };
}

/** Undefined if all are enforced. */
function auditedIn(policies: readonly Policy[], direction: Direction): ReadonlySet<Rule> | undefined {
  const audited = policies.filter((policy) => !isEnforced(policy));
  return audited.length === 0 ? undefined : new Set(rulesOf(audited, direction));
}

const rulesOf = (policies: readonly Policy[], direction: Direction): Rule[] =>
  policies
    .flatMap((policy) => policy.rules.filter((rule) => rule.ref.direction === direction))
    .sort(compareRules);
