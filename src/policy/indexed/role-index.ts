/** The rules of a role, made ready to ask: which one decides, without looking at those that are for others. */
import type { Role } from '../build-table.ts';
import type { Outcome, Reason, Side } from '../decision.ts';
import type { Rule } from '../model.ts';
import type { Numbering } from '../numbering.ts';
import type { ResolvedFlow } from '../scene.ts';
import { TIERS } from '../tiers.ts';
import { type EndClass, holds } from './end-classes.ts';
import { EVERYBODY, type PeerSets } from './peer-sets.ts';
import { createPortMatcher } from './ports.ts';

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
  const everyRule = rules.map((rule, place) => ({ rule, place, set: peerSets.of(rule) }));
  const find = createFinder(
    everyRule.filter(({ rule }) => !audited?.has(rule)),
    isolation.enforced.length > 0,
  );
  const findAudited = audited && createFinder(everyRule, isolation.audited.length > 0);

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
  function makeSide(enforced: number, audit: number): Side {
    const outcome = outcomeOf(enforced, ends.enforced);
    const reason = outcome.rule ? 'rule' : outcome.verdict === 'deny' ? 'default-deny' : 'no-rule';
    return { ...outcome, reason, ...isolates, audit: audited ? outcomeOf(audit, ends.audited) : outcome };
  }
  /** By place of the deciding rule, after that of nothing. */
  const sides: (Side | undefined)[] = [];
  const audits = new Map<number, Side>();
  function auditedSide(enforced: number, audit: number): Side {
    const key = (enforced + 1) * (rules.length + 1) + audit + 1;
    const made = audits.get(key) ?? makeSide(enforced, audit);
    audits.set(key, made);
    return made;
  }
  return {
    allowed: (reason) => ({ ...ALLOWED, ...isolates, audit: ALLOWED, reason }),
    decide(there, flow) {
      const enforced = find(there, flow);
      if (findAudited) return auditedSide(enforced, findAudited(there, flow));
      return (sides[enforced + 1] ??= makeSide(enforced, enforced));
    },
  };
}

const verdictOf = ({ verdict }: Rule): 'allow' | 'deny' => (verdict === 'allow' ? 'allow' : 'deny');

interface Placed {
  readonly rule: Rule;
  readonly place: number;
  readonly set: number;
}

/** Place of the deciding rule, or NOTHING. */
type Finder = (there: EndClass, flow: ResolvedFlow) => number;

/** @param isClosed the pod is isolated: no tier behind NetworkPolicy's is asked */
function createFinder(placed: readonly Placed[], isClosed: boolean): Finder {
  const sets = Int32Array.from(placed, ({ set }) => set);
  const tiers = Float64Array.from(placed, ({ rule }) => rule.tier);
  const passes = Uint8Array.from(placed, ({ rule }) => (rule.verdict === 'pass' ? 1 : 0));
  const matches = placed.map(({ rule }) => createPortMatcher(rule));
  const end = isClosed ? placed.findIndex(({ rule }) => rule.tier > TIERS.default) : -1;
  const length = end < 0 ? placed.length : end;
  const pick = length > FEW ? createPicker(sets) : undefined;
  return (there, flow) => {
    const picked = pick?.(there);
    const count = picked ? picked.length : length;
    let passed = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const at = picked ? picked[i]! : i;
      const set = sets[at]!;
      if (set !== EVERYBODY && !holds(there, set)) continue;
      if (tiers[at] === passed || !matches[at]!(flow)) continue;
      if (passes[at] === 0) return placed[at]!.place;
      passed = tiers[at]!;
    }
    return NOTHING;
  };
}

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
