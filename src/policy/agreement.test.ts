import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import type { Decision } from './decision.ts';
import { createLookup } from './lookup.ts';
import { flowsIn, stagedWorlds, worlds } from './testing/arbitraries.ts';
import { wireFlow } from './wire-flow.ts';

const draws = fc.record({ world: fc.oneof(worlds, stagedWorlds) }).chain(({ world }) =>
  fc.record({
    world: fc.constant(world),
    flows: fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }),
  }),
);

const withoutUndefined = (decision: Decision): unknown => JSON.parse(JSON.stringify(decision));

test('the compiled tables say what the policies say: verdict, rule, audit, reason and isolation on each side', () => {
  fc.assert(
    fc.property(draws, ({ world, flows }) => {
      const decide = createDecider(world);
      const look = createLookup(compile(world));
      for (const flow of flows)
        assert.deepEqual(withoutUndefined(look(wireFlow(world, flow))), withoutUndefined(decide(flow)));
    }),
    { numRuns: 1000 },
  );
});
