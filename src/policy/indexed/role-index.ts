/** The rules of a role, made ready to ask: which one decides, without looking at those that are for others. */
import type { Role } from '../build-table.ts';
import { portsMatch } from '../decide.ts';
import type { Outcome, Reason, Side } from '../decision.ts';
import type { Rule } from '../model.ts';
import type { Numbering } from '../numbering.ts';
import type { ResolvedFlow } from '../scene.ts';
import { TIERS } from '../tiers.ts';
import { type EndClass, holds } from './end-classes.ts';
import { EVERYBODY, type PeerSets } from './peer-sets.ts';
import { hasRange, indexPorts } from './ports.ts';

export interface RoleIndex {
  /** @param there who is at the other end */
  decide(there: EndClass, flow: ResolvedFlow): Side;
  /** Of what no rule is asked about. */
  allowed(reason: Reason): Side;
}

/** Rules up to here are asked in turn; of more, those for the other end are picked first. */
const FEW = 48;
const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;
const NOTHING = -1;

export function indexRole(role: Role, numbering: Numbering, peerSets: PeerSets): RoleIndex {
  const { rules, audited, isolation } = role;
  const { length } = rules;
  const sets = Int32Array.from(rules, (rule) => peerSets.of(rule));
  const ports = rules.map((rule) => indexPorts(rule.ports));
  const others = ports.map((each) => (each && each.others.length > 0 ? { ports: each.others } : undefined));
  const isAudited = rules.map((rule) => audited?.has(rule) ?? false);
  const pick = length > FEW ? createPicker(sets) : undefined;

  const matches = (at: number, flow: ResolvedFlow): boolean => {
    const own = ports[at];
    if (own === undefined || hasRange(own, flow.protocol, flow.port)) return true;
    const rest = others[at];
    return rest !== undefined && portsMatch(rest, flow);
  };

  /** Place of the deciding rule, or NOTHING. */
  function find(there: EndClass, flow: ResolvedFlow, withAudited: boolean, isClosed: boolean): number {
    const picked = pick?.(there);
    const count = picked ? picked.length : length;
    let passed = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const at = picked ? picked[i]! : i;
      const set = sets[at]!;
      if (set !== EVERYBODY && !holds(there, set)) continue;
      if (!withAudited && isAudited[at]) continue;
      const { tier, verdict } = rules[at]!;
      if (isClosed && tier > TIERS.default) return NOTHING;
      if (tier === passed || !matches(at, flow)) continue;
      if (verdict !== 'pass') return at;
      passed = tier;
    }
    return NOTHING;
  }

  const end = (refs: typeof isolation.enforced): Outcome =>
    refs.length === 0
      ? ALLOWED
      : { verdict: 'deny', ruleNumber: numbering.defaultDeny(role.direction, refs) };
  const ends = { enforced: end(isolation.enforced), audited: end(isolation.audited) };
  const isolatedBy = isolation.enforced;
  const isolates = { isolated: isolatedBy.length > 0, isolatedBy };
  const outcomeOf = (at: number, rest: Outcome): Outcome => {
    const rule = rules[at];
    if (!rule) return rest;
    return { verdict: verdictOf(rule), rule: rule.ref, ruleNumber: numbering.rule(rule.ref) };
  };
  const sides = new Map<number, Side>();
  function sideOf(enforced: number, audit: number): Side {
    const key = (enforced + 1) * (length + 1) + audit + 1;
    const known = sides.get(key);
    if (known) return known;
    const outcome = outcomeOf(enforced, ends.enforced);
    const reason = outcome.rule ? 'rule' : outcome.verdict === 'deny' ? 'default-deny' : 'no-rule';
    const made: Side = {
      ...outcome,
      reason,
      ...isolates,
      audit: audited ? outcomeOf(audit, ends.audited) : outcome,
    };
    sides.set(key, made);
    return made;
  }
  const isClosed = isolation.enforced.length > 0;
  const isClosedByAudited = isolation.audited.length > 0;
  return {
    allowed: (reason) => ({ ...ALLOWED, ...isolates, audit: ALLOWED, reason }),
    decide(there, flow) {
      const enforced = find(there, flow, false, isClosed);
      return sideOf(enforced, audited ? find(there, flow, true, isClosedByAudited) : enforced);
    },
  };
}

const verdictOf = ({ verdict }: Rule): 'allow' | 'deny' => (verdict === 'allow' ? 'allow' : 'deny');

/** Places of the rules whose set holds, ascending. */
function createPicker(sets: Int32Array): (there: EndClass) => readonly number[] {
  const bySet = new Map<number, number[]>();
  for (const [at, set] of sets.entries()) {
    const places = bySet.get(set);
    if (places) places.push(at);
    else bySet.set(set, [at]);
  }
  const always = bySet.get(EVERYBODY) ?? [];
  return ({ sets: held }) => {
    const places = [...always];
    for (const set of held) for (const at of bySet.get(set) ?? []) places.push(at);
    return places.sort((a, b) => a - b);
  };
}
