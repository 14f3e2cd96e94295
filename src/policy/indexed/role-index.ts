/** The rules of a role, made ready to ask: which one decides, without looking at those that are for others. */
import type { Role } from '../build-table.ts';
import type { Outcome, Reason, Side } from '../decision.ts';
import type { Isolation } from '../isolation.ts';
import { type Judgement, judge } from '../judge.ts';
import { sideOf } from '../decide.ts';
import type { Rule } from '../model.ts';
import type { Numbering } from '../numbering.ts';
import type { ResolvedFlow } from '../scene.ts';
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
  if (!isSimple(role)) return indexInFull(role, numbering, peerSets);
  const everyRule = rules.map((rule, place) => ({ rule, place, set: peerSets.of(rule) }));
  const find = createFinder(
    everyRule.filter(({ rule }) => !audited?.has(rule)),
    isolation.enforced.tiers[0]?.tier,
  );
  const findAudited = audited && createFinder(everyRule, isolation.audited.tiers[0]?.tier);

  const end = ({ policies }: Isolation): Outcome =>
    policies.length === 0
      ? ALLOWED
      : { verdict: 'deny', ruleNumber: numbering.defaultDeny(role.direction, policies) };
  const ends = { enforced: end(isolation.enforced), audited: end(isolation.audited) };
  const isolates = isolatesOf(role);
  const outcomeOf = (at: number, rest: Outcome): Outcome => {
    const rule = rules[at];
    if (!rule) return rest;
    return { verdict: verdictOf(rule), rule: rule.ref, ruleNumber: numbering.rule(rule.ref) };
  };
  function makeSide(enforced: number, audit: number): Side {
    const outcome = outcomeOf(enforced, ends.enforced);
    const reason = outcome.rule ? 'rule' : outcome.verdict === 'deny' ? 'default-deny' : 'no-rule';
    const closing = reason === 'default-deny' ? { closedBy: isolates.isolatedBy } : {};
    const under = audited ? outcomeOf(audit, ends.audited) : outcome;
    return { ...outcome, reason, ...closing, ...isolates, audit: under };
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

const isolatesOf = ({ isolation: { enforced } }: Role) => ({
  isolated: enforced.policies.length > 0,
  isolatedBy: enforced.policies,
});

/** Rules only allow, deny and pass, and one tier at most is closed, by whatever is not passed on in it. */
function isSimple({ rules, isolation: { audited } }: Role): boolean {
  return (
    audited.tiers.length <= 1 &&
    rules.every(
      ({ l7, auth, log, verdict, tier }) =>
        !l7 && !auth && !log && !(verdict === 'pass' && tier === audited.tiers[0]?.tier),
    )
  );
}

/** Every rule that matches, as `judge` wants it. */
function indexInFull(role: Role, numbering: Numbering, peerSets: PeerSets): RoleIndex {
  const { rules, audited, isolation, direction } = role;
  const isolates = isolatesOf(role);
  const asked = rules.map((rule) => ({
    rule,
    set: peerSets.of(rule),
    matches: createPortMatcher(rule),
    isAudited: audited?.has(rule) ?? false,
  }));
  const number = (each: Judgement): number =>
    each.rule ? numbering.rule(each.rule) : numbering.defaultDeny(direction, each.closedBy ?? []);
  return {
    allowed: (reason) => ({ ...ALLOWED, ...isolates, audit: ALLOWED, reason }),
    decide(there, flow) {
      const found = asked.filter(
        ({ set, matches }) => (set === EVERYBODY || holds(there, set)) && matches(flow),
      );
      const judged = (list: typeof found, { tiers }: Isolation) =>
        judge(
          list.map(({ rule }) => rule),
          tiers,
          flow.request,
        );
      const judgement = judged(
        found.filter(({ isAudited }) => !isAudited),
        isolation.enforced,
      );
      const audit = audited ? judged(found, isolation.audited) : judgement;
      return sideOf(judgement, audit, isolates, number);
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

/** @param closing the tier that is closed, behind which none is asked; undefined: the pod is not isolated */
function createFinder(placed: readonly Placed[], closing: number | undefined): Finder {
  const sets = Int32Array.from(placed, ({ set }) => set);
  const tiers = Float64Array.from(placed, ({ rule }) => rule.tier);
  const passes = Uint8Array.from(placed, ({ rule }) => (rule.verdict === 'pass' ? 1 : 0));
  const matches = placed.map(({ rule }) => createPortMatcher(rule));
  const end = closing === undefined ? -1 : placed.findIndex(({ rule }) => rule.tier > closing);
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
