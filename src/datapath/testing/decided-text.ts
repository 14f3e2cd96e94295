/** What decided, and what audited policies would have made of it, as text: as `decide` says it, and as a data path does. */
import type { Side } from '../../policy/decision.ts';
import { decidedBy } from '../plan/pairs.ts';
import type { PlanState } from '../plan/tables.ts';

const text = (rule: number, audit: { verdict: string; rule: number } | undefined): string =>
  audit ? `${rule} audited ${audit.verdict} ${audit.rule}` : `${rule}`;

/** `0`: nothing decides, and nothing is told. */
export const expectedText = ({ ruleNumber, audit }: Side): string =>
  text(
    ruleNumber,
    audit.ruleNumber === ruleNumber ? undefined : { verdict: audit.verdict, rule: audit.ruleNumber },
  );

export function decidedText(number: number, { rules }: Pick<PlanState, 'rules'>): string {
  const { rule, audit } = decidedBy(number, (each) => rules.get(`${each}`));
  return text(rule, audit);
}
