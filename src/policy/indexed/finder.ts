/**
 * What `judge` says of the rules that match, found without making a list of them. There is one answer for each rule and
 * each tier that closes, and it is always the very same object.
 */
import type { Side } from '../decision.ts';
import type { Closing } from '../isolation.ts';
import type { Judgement } from '../judge.ts';
import type { Rule } from '../model.ts';
import { matchesRequest, type Request } from '../request.ts';
import type { ResolvedFlow } from '../scene.ts';
import { type EndClass, holds } from './end-classes.ts';
import { EVERYBODY, type PeerSets } from './peer-sets.ts';
import { createPortMatcher } from './ports.ts';

/** A rule made ready to ask. */
export interface Asked {
  readonly rule: Rule;
  readonly set: number;
  readonly hasPort: (flow: ResolvedFlow) => boolean;
}

export const askedOf = (rule: Rule, sets: PeerSets): Asked => ({
  rule,
  set: sets.of(rule),
  hasPort: createPortMatcher(rule),
});

export const applies = ({ set, hasPort }: Asked, there: EndClass, flow: ResolvedFlow): boolean =>
  (set === EVERYBODY || holds(there, set)) && hasPort(flow);

export interface Answer {
  readonly judgement: Judgement;
  /** What it says of the pod, once that has been asked for. */
  side: Side | undefined;
}

export type Finder = (there: EndClass, flow: ResolvedFlow) => Answer;

const answerOf = (judgement: Judgement): Answer => ({ judgement, side: undefined });

/** Rules up to here are asked in turn; of more, those for the other end are picked first. */
const FEW = 48;

/**
 * @param asked in deciding order; none of them only logs or wants proof of anybody
 * @param closings by tier, the lowest first
 */
export function createFinder(asked: readonly Asked[], closings: readonly Closing[]): Finder {
  const stages = stagesOf(asked, closings);
  const answers = asked.map(({ rule }) => answersOf(rule));
  const sets = Int32Array.from(asked, ({ set }) => set);
  const verdicts = asked.map(({ rule }) => rule.verdict);
  const nothing = answerOf({ verdict: 'allow', reason: 'no-rule', logged: [] });
  const pick = asked.length > FEW ? createPicker(sets) : undefined;

  const matches = (place: number, there: EndClass, flow: ResolvedFlow): boolean => {
    const set = sets[place]!;
    return (set === EVERYBODY || holds(there, set)) && asked[place]!.hasPort(flow);
  };

  return (there, flow) => {
    const picked = pick?.(there);
    const count = picked ? picked.length : asked.length;
    let i = 0;
    for (const { end, closed } of stages) {
      let isPassed = false;
      for (; i < count; i++) {
        const place = picked ? picked[i]! : i;
        if (place >= end) break;
        if (isPassed || !matches(place, there, flow)) continue;
        const verdict = verdicts[place]!;
        if (verdict === 'deny') return answers[place]!.plain;
        if (verdict === 'allow') return settle(picked, i, end, there, flow);
        isPassed = true;
      }
      if (closed && !isPassed) return closed;
    }
    return nothing;
  };

  /** Of rules that allow, one after the other: those that ask nothing of requests decide first. */
  function settle(
    picked: readonly number[] | undefined,
    from: number,
    end: number,
    there: EndClass,
    flow: ResolvedFlow,
  ): Answer {
    const first = picked ? picked[from]! : from;
    if (!asked[first]!.rule.l7) return answers[first]!.plain;
    const { priority } = asked[first]!.rule;
    const count = picked ? picked.length : asked.length;
    let hit = -1;
    for (let i = from; i < count; i++) {
      const place = picked ? picked[i]! : i;
      if (place >= end) break;
      if (!matches(place, there, flow)) continue;
      const { rule } = asked[place]!;
      if (rule.verdict !== 'allow' || rule.priority !== priority) break;
      if (!rule.l7) return answers[place]!.plain;
      if (hit < 0 && flow.request && hasRequest(rule, flow.request)) hit = place;
    }
    if (!flow.request) return answers[first]!.redirected;
    return hit < 0 ? answers[first]!.refused : answers[hit]!.plain;
  }
}

const hasRequest = ({ l7 }: Rule, request: Request): boolean =>
  l7!.some((match) => matchesRequest(match, request));

interface Answers {
  readonly plain: Answer;
  readonly redirected: Answer;
  readonly refused: Answer;
}

function answersOf({ ref, verdict }: Rule): Answers {
  const decided = { verdict: verdict === 'allow' ? 'allow' : 'deny', reason: 'rule', rule: ref } as const;
  return {
    plain: answerOf({ ...decided, logged: [] }),
    redirected: answerOf({ ...decided, redirect: true, logged: [] }),
    refused: answerOf({ verdict: 'deny', reason: 'request', rule: ref, logged: [] }),
  };
}

/** A tier: where its rules end, and what closes it. */
interface Stage {
  readonly end: number;
  readonly closed: Answer | undefined;
}

function stagesOf(asked: readonly Asked[], closings: readonly Closing[]): Stage[] {
  const tiers = new Set([...asked.map(({ rule }) => rule.tier), ...closings.map(({ tier }) => tier)]);
  return [...tiers]
    .sort((a, b) => a - b)
    .map((tier) => {
      const closing = closings.find((each) => each.tier === tier);
      const next = asked.findIndex(({ rule }) => rule.tier > tier);
      return {
        end: next < 0 ? asked.length : next,
        closed:
          closing &&
          answerOf({ verdict: 'deny', reason: 'default-deny', closedBy: closing.policies, logged: [] }),
      };
    });
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
