/** The engine against a second reading of the specifications (testing/reading.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { STAGE } from '../api/labels.ts';
import { createDecider } from './decide.ts';
import type { Outcome, Side } from './decision.ts';
import type { PolicyObject } from './objects.ts';
import { flowsIn, namespacedWorlds, stagedWorlds, worlds } from './testing/arbitraries.ts';
import { type Reading, readSide } from './testing/reading.ts';
import type { World } from './world.ts';

const drawsOf = (from: fc.Arbitrary<World>) =>
  from.chain((world) =>
    fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }).map((flows) => ({ world, flows })),
  );

function check(expected: Reading | undefined, side: Side): void {
  if (!expected) {
    assert.ok(side.reason === 'not-a-pod' || side.reason === 'self' || side.reason === 'own-node');
    assert.deepEqual([side.verdict, side.rule, side.ruleNumber], ['allow', undefined, 0]);
    return;
  }
  const { verdict, rule, isolating } = expected;
  assert.deepEqual(
    [side.verdict, ruleOf(side), side.isolatedBy.map((p) => `${p.namespace}/${p.name}`), side.isolated],
    [verdict, rule, isolating, isolating.length > 0],
  );
  const reasons = rule ? ['rule'] : verdict === 'deny' ? ['default-deny'] : ['no-rule', 'not-isolated'];
  assert.ok(reasons.includes(side.reason), side.reason);
}

const ruleOf = ({ rule }: Outcome) => rule && `${rule.kind} ${rule.namespace}/${rule.name} ${rule.index}`;

for (const [what, from] of [
  ['of NetworkPolicies', namespacedWorlds],
  ['of all languages', worlds],
] as const)
  test(`decide gives what a plain reading of the specification gives, ${what}`, () => {
    fc.assert(
      fc.property(drawsOf(from), ({ world, flows }) => {
        const decide = createDecider(world);
        for (const flow of flows) {
          const decision = decide(flow);
          check(readSide(world, flow, false), decision.egress);
          check(readSide(world, flow, true), decision.ingress);
          const denied = decision.egress.verdict === 'deny' || decision.ingress.verdict === 'deny';
          assert.equal(decision.verdict, denied ? 'deny' : 'allow');
          assert.equal(decision.audit, decision.verdict);
        }
      }),
      { numRuns: 500 },
    );
  });

const stageOf = (world: World, { metadata }: PolicyObject): string => {
  const ofNamespace = world.namespaces.find(({ name }) => name === metadata.namespace)?.labels[STAGE];
  const known = [metadata.labels?.[STAGE], ofNamespace].filter((s) => s === 'audit' || s === 'enforce');
  return known[0] ?? 'enforce';
};

test('what is audited decides nothing, and its verdict stands beside: that of a world where it is enforced', () => {
  fc.assert(
    fc.property(drawsOf(stagedWorlds), ({ world, flows }) => {
      const decide = createDecider(world);
      const enforced = { ...world, policies: world.policies.filter((p) => stageOf(world, p) === 'enforce') };
      for (const flow of flows) {
        const decision = decide(flow);
        for (const direction of ['egress', 'ingress'] as const) {
          const side = decision[direction];
          const isIngress = direction === 'ingress';
          check(readSide(enforced, flow, isIngress), side);
          const audit = readSide(world, flow, isIngress);
          assert.deepEqual(
            [side.audit.verdict, ruleOf(side.audit)],
            [audit?.verdict ?? 'allow', audit?.rule],
          );
        }
        const audited = [decision.egress.audit.verdict, decision.ingress.audit.verdict];
        assert.equal(decision.audit, audited.includes('deny') ? 'deny' : 'allow');
      }
    }),
    { numRuns: 300 },
  );
});
