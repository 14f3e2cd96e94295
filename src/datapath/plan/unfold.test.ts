import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleInfo } from '../../policy/tables.ts';
import { unfold } from './unfold.ts';

const info = (number: number, more: Partial<RuleInfo> = {}): RuleInfo => ({
  number,
  verdict: 'allow',
  direction: 'ingress',
  origin: { default: [] },
  text: `rule ${number}`,
  ...more,
});

const rules = new Map(
  [
    info(1),
    info(2, { verdict: 'deny' }),
    info(11, { verdict: 'audit-deny', pair: { rule: 1, audit: { verdict: 'deny', rule: 2 } } }),
    info(12, { verdict: 'audit-deny', pair: { rule: 0, audit: { verdict: 'deny', rule: 2 } } }),
    info(13, { verdict: 'deny', pair: { rule: 2, audit: { verdict: 'allow', rule: 1 } } }),
  ].map((each) => [each.number, each] as const),
);

test('what a pair counted is its enforced rule’s too, and what the audited one would have decided', () => {
  const counters = new Map(
    [1, 2, 11, 12, 13, 99].map((number) => [number, { packets: number, bytes: 10 * number }] as const),
  );
  const { rules: sums, audited } = unfold(counters, (number) => rules.get(number));
  assert.deepEqual(
    new Map([...sums].map(([rule, { packets }]) => [rule, packets])),
    new Map([
      [1, 1 + 11],
      [2, 2 + 13],
      [99, 99],
    ]),
  );
  assert.deepEqual(
    audited.map(({ verdict, rule, audit, packets }) => [verdict, rule, audit.verdict, audit.rule, packets]),
    [
      ['allow', 1, 'deny', 2, 11],
      ['allow', 0, 'deny', 2, 12],
      ['deny', 2, 'allow', 1, 13],
    ],
  );
});
