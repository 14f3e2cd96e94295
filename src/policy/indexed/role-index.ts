/** The rules of a role, made ready to ask: which one decides, without looking at those that are for others. */
import type { Role } from '../build-table.ts';
import { sideOf } from '../decide.ts';
import type { Reason, Side } from '../decision.ts';
import { type Judgement, judge } from '../judge.ts';
import type { Isolation } from '../isolation.ts';
import type { Rule } from '../model.ts';
import type { Numbering } from '../numbering.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { EndClass } from './end-classes.ts';
import { answersIn, applies, askedOf, findAnswer, judgementOf } from './finder.ts';
import type { PeerSets } from './peer-sets.ts';
import { type Asked, createProgram, type Program } from './program.ts';

export interface RoleIndex {
  /** Undefined: `judged` says it. */
  readonly program: Program | undefined;
  /** By answer of the program, what it says of the pod, once that has been asked for. */
  readonly sides: (Side | undefined)[];
  readonly sideOf: (answer: number) => Side;
  /** @param there who is at the other end */
  readonly judged: ((there: EndClass, flow: ResolvedFlow) => Side) | undefined;
  /** Of what no rule is asked about. */
  readonly allowed: (reason: Reason) => Side;
}

/** @param there who is at the other end */
export function decideBy(index: RoleIndex, there: EndClass, flow: ResolvedFlow): Side {
  const { program, sides, judged } = index;
  if (!program) return judged!(there, flow);
  const answer = findAnswer(program, there, flow);
  return sides[answer] ?? index.sideOf(answer);
}

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;

export function indexRole(role: Role, numbering: Numbering, peerSets: PeerSets): RoleIndex {
  const { isolation, direction, rules, audited } = role;
  const { policies } = isolation.enforced;
  const isolates = { isolated: policies.length > 0, isolatedBy: policies };
  const numberOf = (each: Judgement): number =>
    each.rule ? numbering.rule(each.rule) : numbering.defaultDeny(direction, each.closedBy ?? []);
  const sideBy = (judgement: Judgement, audit: Judgement): Side =>
    sideOf(judgement, audit, isolates, numberOf);
  const asked = rules.map((rule) => askedOf(rule, peerSets));
  const isJudged = rules.some(isNoted);
  const program = isJudged || audited ? undefined : programOf(role, asked, isolation.enforced);
  const sides = Array.from<Side | undefined>({ length: program ? answersIn(program) : 0 });
  return {
    program,
    sides,
    sideOf(answer) {
      const judgement = judgementOf(program!, answer);
      return (sides[answer] = sideBy(judgement, judgement));
    },
    judged: isJudged ? judging(role, asked, sideBy) : audited ? auditing(role, asked, sideBy) : undefined,
    allowed: (reason) => ({ ...ALLOWED, ...isolates, audit: ALLOWED, reason }),
  };
}

/** Of egress the names of ports are those of whoever is called. */
const programOf = ({ direction, named }: Role, asked: readonly Asked[], { tiers }: Isolation): Program =>
  createProgram(asked, tiers, direction === 'ingress' ? named : undefined);

/** The answer has more to tell than which rule decides, or rules of several priorities are asked about a request. */
const isNoted = ({ log, auth, onward }: Rule): boolean =>
  log !== undefined || auth !== undefined || onward !== undefined;

type MakeSide = (judgement: Judgement, audit: Judgement) => Side;

type Judge = NonNullable<RoleIndex['judged']>;

/** Once by what is enforced, and once by all. */
function auditing(role: Role, asked: readonly Asked[], sideBy: MakeSide): Judge {
  const { isolation, audited } = role;
  const enforced = programOf(
    role,
    asked.filter(({ rule }) => !audited!.has(rule)),
    isolation.enforced,
  );
  const all = programOf(role, asked, isolation.audited);
  const sides = new Map<number, Side>();
  return (there, flow) => {
    const answer = findAnswer(enforced, there, flow);
    const audit = findAnswer(all, there, flow);
    const both = answer * answersIn(all) + audit;
    const side = sides.get(both) ?? sideBy(judgementOf(enforced, answer), judgementOf(all, audit));
    sides.set(both, side);
    return side;
  };
}

/** Every rule that matches, as `judge` wants it. */
function judging({ isolation, audited }: Role, asked: readonly Asked[], sideBy: MakeSide): Judge {
  return (there, flow) => {
    const rules = asked.filter((each) => applies(each, there, flow)).map(({ rule }) => rule);
    const enforced = audited ? rules.filter((rule) => !audited.has(rule)) : rules;
    const judgement = judge(enforced, isolation.enforced.tiers, flow.request);
    return sideBy(judgement, audited ? judge(rules, isolation.audited.tiers, flow.request) : judgement);
  };
}
