/** The engine against a second reading of Cilium's documentation (testing/cilium-reading.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import type { Decision, Side } from './decision.ts';
import { createLookup } from './lookup.ts';
import { flowsIn } from './testing/arbitraries.ts';
import {
  connectionsIn,
  connectionWorlds,
  portWorlds,
  requestsIn,
  requestWorlds,
} from './testing/cilium-policies.ts';
import { type CiliumReading, readCiliumSide } from './testing/cilium-reading.ts';
import { wireFlow } from './wire-flow.ts';
import type { Flow, World } from './world.ts';

const ruleOf = ({ rule }: Side): string | undefined =>
  rule &&
  `${rule.kind} ${rule.namespace}/${rule.name} ${rule.kind === 'NetworkPolicy' ? rule.index : rule.path}`;

function check(expected: CiliumReading | undefined, side: Side): void {
  if (!expected) {
    assert.deepEqual([side.verdict, side.rule, side.ruleNumber], ['allow', undefined, 0]);
    return;
  }
  const isolating = side.isolatedBy.map(
    (p) => `${p.namespace}/${p.name}${p.part === undefined ? '' : ` ${p.part}`}`,
  );
  const { verdict, rule, redirect, auth } = expected;
  assert.deepEqual(
    [side.verdict, ruleOf(side), isolating, side.redirect, side.auth],
    [verdict, rule, expected.isolating, redirect, auth],
  );
}

const drawsOf = (worlds: fc.Arbitrary<World>, flowsIn: (world: World) => fc.Arbitrary<Flow>) =>
  worlds.chain((world) =>
    fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }).map((flows) => ({ world, flows })),
  );
const connections = drawsOf(connectionWorlds, connectionsIn);
const requests = drawsOf(requestWorlds, requestsIn);

for (const [what, draws] of [
  ['connections', connections],
  ['requests and proofs', requests],
] as const)
  test(`decide gives what a plain reading of Cilium’s documentation gives, of ${what}`, () => {
    fc.assert(
      fc.property(draws, ({ world, flows }) => {
        const decide = createDecider(world);
        for (const flow of flows) {
          const decision = decide(flow);
          check(readCiliumSide(world, flow, false), decision.egress);
          check(readCiliumSide(world, flow, true), decision.ingress);
        }
      }),
      { numRuns: 500 },
    );
  });

const plain = (decision: Decision): unknown => JSON.parse(JSON.stringify(decision));

test('the compiled tables say what policies of Cilium’s say', () => {
  fc.assert(
    fc.property(drawsOf(portWorlds, flowsIn), ({ world, flows }) => {
      const decide = createDecider(world);
      const look = createLookup(compile(world));
      for (const flow of flows) assert.deepEqual(plain(look(wireFlow(world, flow))), plain(decide(flow)));
    }),
    { numRuns: 500 },
  );
});
