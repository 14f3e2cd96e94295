/** What the status of a policy says of how it is read: one condition, the same for all nodes, because all read it alike. */
import { lowerPolicies, type PolicyObject } from '../policy/objects.ts';
import type { PolicyProblem } from '../policy/tables.ts';
import type { Surroundings } from '../policy/world.ts';
import { type Condition, withCondition } from './conditions.ts';

export interface ObservedCondition extends Condition {
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

/** Characters of a message; the field takes 32,768. */
const ENOUGH = 2048;

/**
 * True where every part of the object is acted on: `Accepted`, or `Audited` where it decides nothing and is counted and
 * told. Else False, `PartlyUnreadable`, with the parts.
 */
export function policyCondition(
  type: string,
  object: PolicyObject,
  surroundings: Surroundings = {},
): Omit<Condition, 'lastTransitionTime'> {
  const policies = lowerPolicies(object, undefined, surroundings);
  const problems = policies.flatMap((policy) => policy.problems);
  const rules = policies.flatMap((policy) => policy.rules);
  if (problems.length > 0)
    return { type, status: 'False', reason: 'PartlyUnreadable', message: problemsText(problems) };
  const count = (direction: 'ingress' | 'egress') =>
    rules.filter(({ ref }) => ref.direction === direction).length;
  const read = `${count('ingress')} ingress and ${count('egress')} egress rules are read`;
  return policies[0]?.stage === 'audit'
    ? {
        type,
        status: 'True',
        reason: 'Audited',
        message: `${read}; they are counted and told, and decide nothing`,
      }
    : { type, status: 'True', reason: 'Accepted', message: read };
}

function problemsText(problems: readonly PolicyProblem[]): string {
  const texts = problems.map(({ path, message }) => `${path}: ${message}`);
  let text = texts[0]?.slice(0, ENOUGH) ?? '';
  for (const [i, next] of texts.slice(1).entries()) {
    if (text.length + next.length > ENOUGH) return `${text}; and ${texts.length - 1 - i} more`;
    text += `; ${next}`;
  }
  return text;
}

/** The list itself where it says so already, of this generation: then nothing is written. */
export function withObserved(
  conditions: readonly ObservedCondition[] = [],
  condition: ReturnType<typeof policyCondition>,
  { generation, now }: { readonly generation: number | undefined; readonly now: string },
): readonly ObservedCondition[] {
  const next = withCondition(conditions, condition as ObservedCondition, now);
  const own = next.find(({ type }) => type === condition.type);
  if (!own || generation === undefined || own.observedGeneration === generation) return next;
  return next.map((each) => (each === own ? { ...own, observedGeneration: generation } : each));
}
