/** The rules of a role, made ready to ask: which one decides, without looking at those that are for others. */
import type { Role } from '../build-table.ts';
import { sideOf } from '../decide.ts';
import type { Reason, Side } from '../decision.ts';
import { type Judgement, judge } from '../judge.ts';
import type { Rule } from '../model.ts';
import type { Numbering } from '../numbering.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { EndClass } from './end-classes.ts';
import { type Answer, applies, type Asked, askedOf, createFinder } from './finder.ts';
import type { PeerSets } from './peer-sets.ts';

export interface RoleIndex {
  /** @param there who is at the other end */
  decide(there: EndClass, flow: ResolvedFlow): Side;
  /** Of what no rule is asked about. */
  allowed(reason: Reason): Side;
}

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;

export function indexRole(role: Role, numbering: Numbering, peerSets: PeerSets): RoleIndex {
  const { isolation, direction, rules } = role;
  const { policies } = isolation.enforced;
  const isolates = { isolated: policies.length > 0, isolatedBy: policies };
  const numberOf = (each: Judgement): number =>
    each.rule ? numbering.rule(each.rule) : numbering.defaultDeny(direction, each.closedBy ?? []);
  const sideBy = (judgement: Judgement, audit: Judgement): Side =>
    sideOf(judgement, audit, isolates, numberOf);
  const asked = rules.map((rule) => askedOf(rule, peerSets));
  const decide = rules.some(isNoted) ? judging(role, asked, sideBy) : finding(role, asked, sideBy);
  return { allowed: (reason) => ({ ...ALLOWED, ...isolates, audit: ALLOWED, reason }), decide };
}

/** The answer has more to tell than which rule decides, or rules of several priorities are asked about a request. */
const isNoted = ({ log, auth, onward }: Rule): boolean =>
  log !== undefined || auth !== undefined || onward !== undefined;

type MakeSide = (judgement: Judgement, audit: Judgement) => Side;

/** There are about as many answers as rules, each an object of its own: what they say of the pod is made once. */
function finding(
  { isolation, audited }: Role,
  asked: readonly Asked[],
  sideBy: MakeSide,
): RoleIndex['decide'] {
  const enforced = asked.filter(({ rule }) => !audited?.has(rule));
  const find = createFinder(enforced, isolation.enforced.tiers);
  if (!audited)
    return (there, flow) => {
      const answer = find(there, flow);
      return (answer.side ??= sideBy(answer.judgement, answer.judgement));
    };
  const findAudited = createFinder(asked, isolation.audited.tiers);
  const sides = new Map<Answer, Map<Answer, Side>>();
  return (there, flow) => {
    const answer = find(there, flow);
    const audit = findAudited(there, flow);
    const known = sides.get(answer) ?? remember(sides, answer, new Map<Answer, Side>());
    return known.get(audit) ?? remember(known, audit, sideBy(answer.judgement, audit.judgement));
  };
}

function remember<K, V>(known: Map<K, V>, key: K, value: V): V {
  known.set(key, value);
  return value;
}

/** Every rule that matches, as `judge` wants it. */
function judging(
  { isolation, audited }: Role,
  asked: readonly Asked[],
  sideBy: MakeSide,
): RoleIndex['decide'] {
  return (there, flow) => {
    const rules = asked.filter((each) => applies(each, there, flow)).map(({ rule }) => rule);
    const enforced = audited ? rules.filter((rule) => !audited.has(rule)) : rules;
    const judgement = judge(enforced, isolation.enforced.tiers, flow.request);
    return sideBy(judgement, audited ? judge(rules, isolation.audited.tiers, flow.request) : judgement);
  };
}
