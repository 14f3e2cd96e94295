/** The engine against a second reading of Calico's API reference (testing/calico-reading.ts). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile, createCompiler } from './compile.ts';
import { createDecider } from './decide.ts';
import type { Decision, Side } from './decision.ts';
import { createIndexedDecider } from './indexed/decider.ts';
import { createLookup } from './lookup.ts';
import { calicoFlows, calicoWorlds } from './testing/calico-policies.ts';
import { type CalicoReading, readCalicoSide } from './testing/calico-reading.ts';
import { wireFlow } from './wire-flow.ts';
import type { Flow, World } from './world.ts';

const refText = (ref: NonNullable<Side['rule']>): string =>
  `${ref.kind} ${ref.namespace}/${ref.name} ${ref.index}`;

function check(expected: CalicoReading | undefined, side: Side): void {
  if (!expected) {
    assert.deepEqual([side.verdict, side.rule, side.ruleNumber], ['allow', undefined, 0]);
    return;
  }
  const { verdict, rule, logged } = expected;
  assert.deepEqual(
    [side.verdict, side.rule && refText(side.rule), (side.logged ?? []).map(refText)],
    [verdict, rule, logged],
  );
}

const drawsOf = (worlds: fc.Arbitrary<World>) =>
  worlds.chain((world) =>
    fc.array(calicoFlows(world), { minLength: 20, maxLength: 20 }).map((flows) => ({ world, flows })),
  );

for (const [what, worlds] of [
  ['connections', calicoWorlds({ fine: true, requests: false })],
  ['requests', calicoWorlds({ fine: true, requests: true })],
] as const)
  test(`decide gives what a plain reading of Calico’s API reference gives, of ${what}`, () => {
    fc.assert(
      fc.property(drawsOf(worlds), ({ world, flows }) => {
        const decide = createDecider(world);
        const byIndex = createIndexedDecider()(world);
        for (const flow of flows.map((each) => asked(each, what))) {
          const decision = decide(flow);
          check(readCalicoSide(world, flow, false), decision.egress);
          check(readCalicoSide(world, flow, true), decision.ingress);
          assert.deepEqual(byIndex(flow), decision);
        }
      }),
      { numRuns: 700 },
    );
  });

/** A connection with rules for requests on it is another question: here every flow is a request, or none. */
function asked(flow: Flow, what: string): Flow {
  const { request, ...connection } = flow;
  if (what === 'connections' || flow.protocol !== 'TCP') return connection;
  return { ...flow, request: request ?? { type: 'http', method: 'GET', path: '/' } };
}

/** Rules that only log are in no table. */
const plain = (decision: Decision): unknown =>
  JSON.parse(JSON.stringify(decision, (key, value: unknown) => (key === 'logged' ? undefined : value)));

test('the compiled tables say what Calico’s policies say', () => {
  fc.assert(
    fc.property(drawsOf(calicoWorlds({ fine: false, requests: false })), ({ world, flows }) => {
      const decide = createDecider(world);
      const look = createLookup(compile(world));
      for (const { request: _, ...flow } of flows)
        assert.deepEqual(plain(look(wireFlow(world, flow))), plain(decide(flow)));
    }),
    { numRuns: 500 },
  );
});

test('a compiler that knew other tiers and sets compiles as a new one does', () => {
  const worlds = calicoWorlds({ fine: false, requests: false });
  fc.assert(
    fc.property(worlds, worlds, (before, after) => {
      const compiler = createCompiler();
      const { policies } = before;
      compiler(before);
      const now: World = { ...before, surroundings: after.surroundings!, policies };
      const { newRules: _, ...known } = compiler(now);
      const { newRules: __, ...fresh } = compile(now);
      assert.deepEqual(known, fresh);
    }),
    { numRuns: 200 },
  );
});
