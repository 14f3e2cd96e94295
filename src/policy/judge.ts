/** What rules that match decide, in their order: tiers, `pass`, default denies, rules for requests, authentication. */
import type { Authentication, PolicyRef, RuleRef } from './decision.ts';
import type { Closing } from './isolation.ts';
import type { Rule } from './model.ts';
import { matchesRequest, type Request } from './request.ts';

export interface Judgement {
  readonly verdict: 'allow' | 'deny';
  readonly reason: 'rule' | 'request' | 'default-deny' | 'no-rule';
  readonly rule?: RuleRef;
  readonly closedBy?: readonly PolicyRef[];
  readonly redirect?: true;
  readonly auth?: Authentication;
  /** Rules that only log, before the one that decides. */
  readonly logged: readonly RuleRef[];
}

/**
 * @param matching rules, in deciding order
 * @param closings by tier, the lowest first
 */
export function judge(
  matching: readonly Rule[],
  closings: readonly Closing[],
  request: Request | undefined,
): Judgement {
  const rules = request ? asOf(matching, request) : matching;
  const logged: RuleRef[] = [];
  let at = 0;
  let closing = 0;
  while (at < rules.length || closing < closings.length) {
    const tier = Math.min(rules[at]?.tier ?? Infinity, closings[closing]?.tier ?? Infinity);
    let end = at;
    while (rules[end]?.tier === tier) end++;
    while (at < end && rules[at]!.log) logged.push(rules[at++]!.ref);
    const first = at < end ? rules[at] : undefined;
    if (first && first.verdict !== 'pass') return { ...settle(rules.slice(at, end), request), logged };
    const closes = closings[closing]?.tier === tier ? closings[closing++] : undefined;
    if (!first && closes)
      return { verdict: 'deny', reason: 'default-deny', closedBy: closes.policies, logged };
    at = end;
  }
  return { verdict: 'allow', reason: 'no-rule', logged };
}

/** Rules that hand requests on are for those that they match, and for no others. */
function asOf(rules: readonly Rule[], request: Request): readonly Rule[] {
  if (!rules.some(({ onward }) => onward)) return rules;
  return rules.flatMap((rule) => {
    if (!rule.onward) return [rule];
    const { l7, ...plain } = rule;
    return l7!.some((match) => matchesRequest(match, request)) ? [plain] : [];
  });
}

/** @param rules from the first that decides, to the end of its tier */
function settle(rules: readonly Rule[], request: Request | undefined): Omit<Judgement, 'logged'> {
  const [first] = rules;
  if (first!.verdict === 'deny') return { verdict: 'deny', reason: 'rule', rule: first!.ref };
  const run = runOf(rules);
  const auth = strictest(run);
  const proof = auth ? { auth: auth.auth! } : {};
  const plain = run.find(({ l7 }) => l7 === undefined);
  const allowed = { verdict: 'allow', reason: 'rule', ...proof } as const;
  if (plain) return { ...allowed, rule: (auth ?? plain).ref };
  if (!request) return { ...allowed, rule: (auth ?? first!).ref, redirect: true };
  const hit = run.find(({ l7 }) => l7!.some((match) => matchesRequest(match, request)));
  if (hit) return { ...allowed, rule: hit.ref };
  return { verdict: 'deny', reason: 'request', rule: first!.ref };
}

/** Rules that allow, up to what comes between them: they add up, whatever their order. */
function runOf(rules: readonly Rule[]): Rule[] {
  const own = rules.filter(({ log }) => !log);
  const end = own.findIndex(({ verdict, priority }) => verdict !== 'allow' || priority !== own[0]!.priority);
  return end < 0 ? own : own.slice(0, end);
}

/** The rule by which the ends must prove who they are: of several the first that asks the most. */
const strictest = (rules: readonly Rule[]): Rule | undefined =>
  rules.find(({ auth }) => auth === 'test-always-fail') ?? rules.find(({ auth }) => auth !== undefined);
