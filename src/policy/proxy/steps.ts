/** Rules that match a connection, as steps that a request goes through: judge.ts with all but the request known. */
import type { RuleVerdict } from '../model.ts';
import type { ProxyRule, RulesStep, Step } from './model.ts';

export interface StepRule {
  readonly tier: number;
  readonly priority: number;
  readonly verdict: RuleVerdict;
  readonly own: ProxyRule;
}

export interface StepClosing {
  readonly tier: number;
  /** Number of the default deny. */
  readonly rule: number;
}

/**
 * @param places of the rules that match, in deciding order
 * @param closings by tier, the lowest first
 */
export function stepsOf(
  rules: readonly StepRule[],
  places: readonly number[],
  closings: readonly StepClosing[],
): Step[] {
  const steps: Step[] = [];
  let [at, closing] = [0, 0];
  const next = (): StepRule | undefined => rules[places[at]!];
  for (;;) {
    const rule = next();
    const closes = closings[closing];
    if (closes && (!rule || closes.tier < rule.tier))
      return [...steps, { verdict: 'deny', rule: closes.rule }];
    if (!rule) return [...steps, { verdict: 'allow', rule: 0 }];
    if (rule.verdict === 'deny') return [...steps, { verdict: 'deny', rule: rule.own.rule }];
    if (rule.verdict === 'pass') {
      while (next()?.tier === rule.tier) at++;
      if (closes?.tier === rule.tier) closing++;
      continue;
    }
    const run: ProxyRule[] = [];
    for (let other = next(); other && addsTo(rule, other); other = next()) {
      run.push(other.own);
      at++;
    }
    steps.push({ rules: run });
    if (run.some(({ onward }) => !onward)) return steps;
  }
}

/** Rules that allow add up, with none of another kind between. */
const addsTo = (first: StepRule, { tier, priority, verdict }: StepRule): boolean =>
  verdict === 'allow' && tier === first.tier && priority === first.priority;

/** Whether a connection is handed over: no rule decides it before its requests are known. */
export const handsOver = ([first]: readonly Step[]): boolean =>
  first !== undefined && isRules(first) && first.rules.every(({ requests }) => requests !== undefined);

export const isRules = (step: Step): step is RulesStep => 'rules' in step;
