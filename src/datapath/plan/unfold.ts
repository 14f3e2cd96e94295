/** Counters by the numbers that a data path has → those of each rule, and what audited policies would have decided. */
import type { Direction } from '../../policy/decision.ts';
import type { RuleInfo } from '../../policy/tables.ts';
import type { Counter } from '../backend.ts';

/** Traffic whose outcome would be by another rule if what is audited were enforced. */
export interface Audited extends Counter {
  readonly direction: Direction;
  /** As it was decided; the rule is 0 where none decides. */
  readonly verdict: 'allow' | 'deny';
  readonly rule: number;
  readonly audit: { readonly verdict: 'allow' | 'deny'; readonly rule: number };
}

export interface Unfolded {
  /** By the rule that decided; numbers that nobody knows stay as they are. */
  readonly rules: ReadonlyMap<number, Counter>;
  readonly audited: readonly Audited[];
}

export function unfold(
  counters: ReadonlyMap<number, Counter>,
  ruleOf: (number: number) => RuleInfo | undefined,
): Unfolded {
  const rules = new Map<number, Counter>();
  const audited: Audited[] = [];
  const add = (rule: number, { packets, bytes }: Counter): void => {
    const sum = rules.get(rule) ?? { packets: 0, bytes: 0 };
    rules.set(rule, { packets: sum.packets + packets, bytes: sum.bytes + bytes });
  };
  for (const [number, counter] of counters) {
    const info = ruleOf(number);
    if (!info?.pair) {
      add(number, counter);
      continue;
    }
    const { direction, pair } = info;
    const verdict = info.verdict === 'allow' || info.verdict === 'audit-deny' ? 'allow' : 'deny';
    audited.push({ ...counter, direction, verdict, ...pair });
    if (pair.rule !== 0) add(pair.rule, counter);
  }
  return { rules, audited };
}
