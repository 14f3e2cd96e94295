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
import { difference } from './pod-directory.ts';
import { sameItems } from './policy-list.ts';
import type { GroupDifference, PodGroup } from './roles.ts';
import type { WorldPod } from './world.ts';

/** What the roles of a group have in common, of one direction. */
interface GroupSide extends Omit<Role, 'text' | 'named'> {
  /** Of all policies that say anything of the group. */
  readonly selected: string;
  /** Port names that its rules use. */
  readonly names: readonly string[];
}

interface Held {
  readonly group: PodGroup;
  readonly sides: readonly GroupSide[];
  /** By text, with how many pods of the group have it. */
  readonly roles: Map<string, { readonly role: Role; pods: number }>;
}

const DIRECTIONS = ['ingress', 'egress'] as const;

/** Over all pods, also those not compiled, so that a number never depends on the node. */
export function createRoles() {
  const numberer = createNumberer();
  const held = new Map<string, Held>();
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

  function addPod({ sides, roles }: Held, pod: WorldPod): void {
    for (const { selected, names, ...side } of sides) {
      const named = resolveNames(names, pod);
      const text = `${side.direction} of ${selected} # ${namedPortsText(named)}`;
      const known = roles.get(text) ?? { role: retain({ ...side, text, named }), pods: 0 };
      known.pods++;
      roles.set(text, known);
      byPod[side.direction].set(pod, known.role);
    }
  }

  function removePod({ roles }: Held, pod: WorldPod): void {
    for (const direction of DIRECTIONS) {
      const role = byPod[direction].get(pod);
      if (!role) continue;
      byPod[direction].delete(pod);
      const known = roles.get(role.text)!;
      if (--known.pods > 0) continue;
      roles.delete(role.text);
      release(role);
    }
  }

  /** @param touched gets the pods that may have other roles now */
  function change(was: PodGroup | undefined, is: PodGroup | undefined, touched: Set<WorldPod>): void {
    const known = was && held.get(was.key);
    const isSame = was !== undefined && is !== undefined && isConcernedAlike(was, is);
    const { gone, come } = isSame
      ? difference(was.pods, is.pods)
      : { gone: was?.pods ?? [], come: is?.pods ?? [] };
    for (const pod of gone) {
      touched.add(pod);
      removePod(known!, pod);
    }
    if (was) held.delete(was.key);
    if (!is) return;
    const next: Held = isSame
      ? { ...known!, group: is }
      : { group: is, sides: sidesOf(is), roles: new Map() };
    held.set(is.key, next);
    for (const pod of come) {
      touched.add(pod);
      addPod(next, pod);
    }
  }

  return {
    /** Returns the pods that may have other roles than before. */
    update({ gone, come }: GroupDifference): ReadonlySet<WorldPod> {
      const touched = new Set<WorldPod>();
      const former = new Map(gone.map((group) => [group.key, group]));
      const next = new Map(come.map((group) => [group.key, group]));
      for (const group of gone) if (!next.has(group.key)) change(group, undefined, touched);
      for (const group of come) change(former.get(group.key), group, touched);
      return touched;
    },
    roleOf: (pod: WorldPod, direction: Direction): Role | undefined => byPod[direction].get(pod),
    number: (role: Role): number => numberer.number(role.text),
    /** Grows when a number that was given may be another one now. */
    epoch: numberer.epoch,
  };
}

const isConcernedAlike = (a: PodGroup, b: PodGroup): boolean =>
  DIRECTIONS.every((direction) => sameItems(a.concernedBy[direction], b.concernedBy[direction]));

function sidesOf({ concernedBy }: PodGroup): GroupSide[] {
  return DIRECTIONS.flatMap((direction) => {
    const policies = concernedBy[direction];
    if (policies.length === 0) return [];
    const rules = rulesOf(policies, direction);
    return {
      direction,
      policies,
      rules,
      audited: auditedIn(policies, direction),
      isolation: isolationOf(policies, direction),
      names: direction === 'ingress' ? rules.flatMap(namesIn) : [],
      selected: policies.map((policy) => policyText(policy.ref)).join(', '),
    };
  });
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
