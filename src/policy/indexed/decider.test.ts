import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { errorText } from '../../lib/errors.ts';
import { createDecider } from '../decide.ts';
import { requestsIn, requestWorlds } from '../testing/cilium-policies.ts';
import { fullFlowsIn, mixedWorlds } from '../testing/plain-worlds.ts';
import type { Decision } from '../decision.ts';
import { flowsIn, stagedWorlds, worlds } from '../testing/arbitraries.ts';
import { meshFlowsIn, withMesh } from '../testing/mesh-arbitraries.ts';
import type { Flow, World } from '../world.ts';
import { createIndexedDecider, type Decider } from './decider.ts';

const anyWorld = fc.oneof(worlds, stagedWorlds);
const withFlows = (world: World) =>
  fc.record({ world: fc.constant(world), flows: fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }) });

const withoutUndefined = (decision: Decision): unknown => JSON.parse(JSON.stringify(decision));

function agree(world: World, fast: Decider, flows: readonly Flow[]): void {
  const decide = createDecider(world);
  for (const flow of flows) assert.deepEqual(withoutUndefined(fast(flow)), withoutUndefined(decide(flow)));
}

test('the index says what the policies say: verdict, rule, audit, reason and isolation on each side', () => {
  fc.assert(
    fc.property(anyWorld.chain(withFlows), ({ world, flows }) =>
      agree(world, createIndexedDecider()(world), flows),
    ),
    { numRuns: 1500 },
  );
});

test('so it does of requests, messages of ICMP, names, entities, proofs, and what proxies decide', () => {
  const draw = <T extends World>(of: fc.Arbitrary<T>, flowsOf: (world: World) => fc.Arbitrary<Flow>) =>
    of.chain((world) =>
      fc.record({
        world: fc.constant(world),
        flows: fc.array(flowsOf(world), { minLength: 20, maxLength: 20 }),
      }),
    );
  fc.assert(
    fc.property(
      fc.oneof(
        draw(mixedWorlds, fullFlowsIn),
        draw(requestWorlds, requestsIn),
        draw(withMesh(anyWorld), meshFlowsIn),
        draw(withMesh(requestWorlds), meshFlowsIn),
      ),
      ({ world, flows }) => agree(world, createIndexedDecider()(world), flows),
    ),
    { numRuns: 1500 },
  );
});

test('a decider that has seen other worlds says of the last one what a new one says', () => {
  const steps = fc.tuple(anyWorld, anyWorld).chain(([one, other]) =>
    fc.array(
      fc
        .record({
          pods: fc.shuffledSubarray([...one.pods, ...other.pods]),
          namespaces: fc.constantFrom(one.namespaces, other.namespaces),
          nodes: fc.constantFrom(one.nodes, []),
          policies: fc.shuffledSubarray([...one.policies, ...other.policies]),
        })
        .chain(withFlows),
      { minLength: 2, maxLength: 6 },
    ),
  );
  fc.assert(
    fc.property(steps, (worldsInTurn) => {
      const next = createIndexedDecider();
      for (const { world, flows } of worldsInTurn) agree(world, next(world), flows);
    }),
    { numRuns: 300 },
  );
});

test('what cannot be asked is refused in the same words', () => {
  const refused = (decide: Decider, flow: Flow): string => {
    try {
      decide(flow);
      return 'decided';
    } catch (error) {
      return errorText(error);
    }
  };
  const end = fc.oneof(
    fc.constantFrom('a/p1', 'b/p2', 'a/nobody').map((pod) => ({ pod })),
    fc
      .constantFrom(
        '10.0.0.1',
        '10.0.0.01',
        '10.0.0',
        '1.2.3.4.5',
        '256.1.1.1',
        '',
        '.',
        'fd00::1',
        'fd00:::1',
        'FD00:10:244:1::1',
        '::ffff:10.244.1.1',
      )
      .map((address) => ({ address })),
  );
  const flow = fc.record({
    src: end,
    dst: end,
    protocol: fc.constantFrom('TCP', 'ICMP'),
    port: fc.constantFrom(80, 0, 65536, 1.5, undefined),
    family: fc.constantFrom(4, 6, undefined),
  }) as fc.Arbitrary<Flow>;
  fc.assert(
    fc.property(anyWorld, fc.array(flow, { minLength: 30 }), (world, flows) => {
      const [fast, decide] = [createIndexedDecider()(world), createDecider(world)];
      for (const each of flows) assert.equal(refused(fast, each), refused(decide, each));
    }),
    { numRuns: 200 },
  );
});
