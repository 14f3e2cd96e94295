/** What `judge` says of the rules that match, found without making a list of them: which answer of a program. */
import type { Judgement } from '../judge.ts';
import type { Rule } from '../model.ts';
import { matchesRequest, type Request } from '../request.ts';
import type { ResolvedFlow } from '../scene.ts';
import { type EndClass, holds } from './end-classes.ts';
import { EVERYBODY, type PeerSets } from './peer-sets.ts';
import { createPortMatcher } from './ports.ts';
import {
  ANSWER,
  ASK,
  type Asked,
  listOf,
  OPEN,
  type Program,
  REDIRECTED,
  REFUSED,
  STEP,
  WHAT,
} from './program.ts';

export const askedOf = (rule: Rule, sets: PeerSets): Asked => ({
  rule,
  set: sets.of(rule),
  hasPort: createPortMatcher(rule),
});

export const applies = ({ set, hasPort }: Asked, there: EndClass, flow: ResolvedFlow): boolean =>
  (set === EVERYBODY || holds(there, set)) && hasPort(flow);

/** How many answers there are. */
export const answersIn = ({ asked, closedBy }: Program): number => asked.length + closedBy.length + 1;

/** Steps of a list that are to be gone through. */
interface Walk {
  /** Where they are; undefined: one behind the other. */
  readonly picked: readonly number[] | undefined;
  readonly first: number;
  readonly count: number;
}

export function findAnswer(program: Program, there: EndClass, flow: ResolvedFlow): number {
  const { code, asked, bySet } = program;
  const list = listOf(code, flow.protocol, flow.port);
  const picked = bySet.size > 0 ? pick(bySet.get(list), there) : undefined;
  const first = list + 1;
  const count = picked ? picked.length : (code[list]! - first) >> 1;
  let isPassed = false;
  for (let i = 0; i < count; i++) {
    const at = picked ? picked[i]! : first + 2 * i;
    const step = code[at]!;
    const what = step & WHAT;
    if (what === STEP.close) {
      if (!isPassed && step >> ANSWER !== OPEN) return step >> ANSWER;
      isPassed = false;
      continue;
    }
    if (isPassed || !isFor(code[at + 1]!, there)) continue;
    const answer = step >> ANSWER;
    if ((step & ASK) !== 0 && !asked[answer]!.hasPort(flow)) continue;
    if (what === STEP.requests) return settle(program, { picked, first, count }, i, there, flow);
    if (what !== STEP.pass) return answer;
    isPassed = true;
  }
  return asked.length + program.closedBy.length;
}

const isFor = (set: number, there: EndClass): boolean => set === EVERYBODY || holds(there, set);

/**
 * Of rules that allow, one after the other: those that ask nothing of requests decide first.
 *
 * @param from the first that matches
 */
function settle(
  { code, asked }: Program,
  { picked, first, count }: Walk,
  from: number,
  there: EndClass,
  flow: ResolvedFlow,
): number {
  const began = code[picked ? picked[from]! : first + 2 * from]! >> ANSWER;
  const { tier, priority } = asked[began]!.rule;
  let hit = -1;
  for (let i = from; i < count; i++) {
    const at = picked ? picked[i]! : first + 2 * i;
    const step = code[at]!;
    if ((step & WHAT) === STEP.close) break;
    if (!isFor(code[at + 1]!, there)) continue;
    const answer = step >> ANSWER;
    const { rule, hasPort } = asked[answer]!;
    if (rule.tier !== tier) break;
    if ((step & ASK) !== 0 && !hasPort(flow)) continue;
    if (rule.verdict !== 'allow' || rule.priority !== priority) break;
    if (!rule.l7) return answer;
    if (hit < 0 && flow.request && hasRequest(rule, flow.request)) hit = answer;
  }
  if (!flow.request) return began + REDIRECTED;
  return hit < 0 ? began + REFUSED : hit;
}

const hasRequest = ({ l7 }: Rule, request: Request): boolean =>
  l7!.some((match) => matchesRequest(match, request));

/**
 * Steps for the other end, ascending. Undefined: it takes less to go through all of them.
 *
 * @param bySet undefined of few
 */
function pick(
  bySet: ReadonlyMap<number, readonly number[]> | undefined,
  { sets }: EndClass,
): readonly number[] | undefined {
  if (!bySet || sets.length * 4 > bySet.size) return undefined;
  const steps = [...(bySet.get(EVERYBODY) ?? [])];
  for (const set of sets) for (const at of bySet.get(set) ?? []) steps.push(at);
  return steps.sort((a, b) => a - b);
}

/** What an answer says. */
export function judgementOf({ asked, closedBy }: Program, answer: number): Judgement {
  const own = asked[answer];
  if (own) {
    const { ref, verdict, l7 } = own.rule;
    const decided = { verdict: verdict === 'allow' ? 'allow' : 'deny', reason: 'rule', rule: ref } as const;
    if (!l7 || asked[answer - 1] !== own) return { ...decided, logged: [] };
    return asked[answer + 1] === own
      ? { ...decided, redirect: true, logged: [] }
      : { verdict: 'deny', reason: 'request', rule: ref, logged: [] };
  }
  const policies = closedBy[answer - asked.length];
  if (!policies) return { verdict: 'allow', reason: 'no-rule', logged: [] };
  return { verdict: 'deny', reason: 'default-deny', closedBy: policies, logged: [] };
}
