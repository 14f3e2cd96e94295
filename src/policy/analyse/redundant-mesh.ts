/** Rules of the mesh that say what another one says already, as far as their words show it. */
import { sameJson } from '../../lib/json.ts';
import type { RuleRef } from '../decision.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { Authorization, Condition, MeshRule, Scope } from '../mesh/model.ts';

export interface RedundantMeshRule {
  readonly ref: RuleRef;
  readonly action: 'ALLOW' | 'DENY';
  /** Matches all that it matches, for all pods that it is for; never one that is redundant itself. */
  readonly by: RuleRef;
}

interface Placed {
  readonly rule: MeshRule;
  readonly policy: Authorization;
}

/** All that are found can be removed together: the policies stay, with the rules that they have left. */
export function findRedundantOfMesh({ authorizations }: Mesh): RedundantMeshRule[] {
  const found: RedundantMeshRule[] = [];
  for (const action of ['ALLOW', 'DENY'] as const) {
    const rules = authorizations
      .filter((policy) => policy.action === action && policy.stage === 'enforce')
      .flatMap((policy) => policy.rules.map((rule): Placed => ({ rule, policy })));
    const removed = new Set<Placed>();
    // Of two that say the same the first stays.
    for (const each of rules.toReversed()) {
      const by = rules.find((other) => other !== each && !removed.has(other) && covers(other, each));
      if (!by) continue;
      removed.add(each);
      found.push({ ref: each.rule.ref, action, by: by.rule.ref });
    }
  }
  return found.reverse();
}

/** Whether `b` matches all that `a` does. */
const covers = (b: Placed, a: Placed): boolean =>
  coversScope(b.policy.scope, a.policy.scope) &&
  coversAny(b.rule.sources, a.rule.sources) &&
  coversAny(b.rule.operations, a.rule.operations) &&
  coversAll(b.rule.conditions, a.rule.conditions);

function coversScope(b: Scope | undefined, a: Scope | undefined): boolean {
  if (!a || !b || (b.namespace !== null && b.namespace !== a.namespace)) return false;
  return Object.entries(b.labels).every(([key, value]) => a.labels[key] === value);
}

function coversAny(b: MeshRule['sources'], a: MeshRule['sources']): boolean {
  if (b === null) return true;
  return a !== null && a.every((one) => b.some((other) => coversAll(other, one)));
}

/** Each condition of `b` holds where those of `a` do. */
const coversAll = (b: readonly Condition[], a: readonly Condition[]): boolean =>
  b.every((condition) => a.some((other) => coversCondition(condition, other)));

function coversCondition(b: Condition, a: Condition): boolean {
  const { values: wide, notValues: lessOut, ...of } = b;
  const { values: narrow, notValues: moreOut, ...other } = a;
  if (!sameJson(of, other)) return false;
  const isIn = (list: readonly unknown[], value: unknown) => list.some((each) => sameText(each, value));
  const isWithin =
    wide.length === 0 || (narrow.length > 0 && narrow.every((value: unknown) => isIn(wide, value)));
  return isWithin && lessOut.every((value: unknown) => isIn(moreOut, value));
}

/** Addresses are big integers, which JSON does not know. */
const sameText = (a: unknown, b: unknown): boolean => textOf(a) === textOf(b);

const textOf = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part)) ?? '';
