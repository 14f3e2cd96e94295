/** Why no edit turns a verdict. */
import type { PolicyRef } from '../decision.ts';
import { ruleText } from '../decision.ts';
import type { Outcome, RuleRef } from '../decision.ts';
import type { PolicyProblem } from '../tables.ts';
import type { Asked } from './asked.ts';

export type NoChangeReason =
  /** What denies could not be read, and so denies everything: it is to be put right. */
  | 'unreadable'
  /** Somebody outside the cluster says no, or there are several of whom none is asked. */
  | 'authorizer'
  /** No rule can name the other end. */
  | 'nameless'
  /** It is allowed, and a change that denies it is not looked for, or there is none. */
  | 'allowed'
  /** What was tried does not turn it. */
  | 'none-found';

export interface NoChange {
  readonly why: NoChangeReason;
  readonly message: string;
  /** Where it is to be put right. */
  readonly at?: { readonly policy: PolicyRef; readonly path: string };
}

/** Of a side that denies by a rule of which a part could not be read. */
export function unreadIn({ scene }: Asked, { rule }: Outcome): NoChange | undefined {
  if (!rule) return undefined;
  const { authorizations = [], peers = [] } = scene.mesh ?? {};
  const all = [...scene.policies, ...authorizations, ...peers];
  const problem = all
    .flatMap(({ problems }) => problems)
    .find((each) => !each.absent && isOfRule(each, rule));
  if (!problem) return undefined;
  return {
    why: 'unreadable',
    message: `${ruleText(rule)} denies because it cannot be read: ${problem.path} ${problem.message}; put that right`,
    at: { policy: problem.policy, path: problem.path },
  };
}

function isOfRule({ policy, path }: PolicyProblem, rule: RuleRef): boolean {
  if (policy.kind !== rule.kind || policy.namespace !== rule.namespace || policy.name !== rule.name)
    return false;
  const isWithin = path === rule.path || path.startsWith(`${rule.path}.`) || rule.path.startsWith(`${path}.`);
  // An action that is unknown is taken to deny whatever comes, by a rule that nobody wrote.
  return isWithin || path === 'spec.action';
}
