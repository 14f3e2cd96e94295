import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import type { MeshObject } from '../mesh/objects.ts';
import { namespacedWorlds } from '../testing/arbitraries.ts';
import { meshFlowsIn, meshObjects, withMesh } from '../testing/mesh-arbitraries.ts';
import type { World } from '../world.ts';
import { createIndexedDecider } from './decider.ts';

const named = (object: MeshObject, list: number): MeshObject => ({
  ...object,
  metadata: { ...object.metadata, name: `${object.metadata.name}-${list}` },
});
const manyObjects = fc
  .array(meshObjects, { minLength: 5, maxLength: 12, size: 'max' })
  .map((lists) => lists.flatMap((list, i) => list.map((object) => named(object, i))));
/** One action, so that many rules are asked for it; and strict modes seldom, which ask none. */
const alike = (action: string | undefined, isStrict: boolean) => (object: MeshObject) =>
  object.kind === 'AuthorizationPolicy'
    ? [action === undefined ? object : ({ ...object, spec: { ...object.spec, action } } as MeshObject)]
    : isStrict
      ? [object]
      : [];
const worlds: fc.Arbitrary<World> = fc
  .tuple(
    withMesh(namespacedWorlds),
    manyObjects,
    fc.constantFrom(undefined, 'ALLOW', 'DENY', 'AUDIT'),
    fc.integer({ min: 0, max: 4 }),
  )
  .map(([world, mesh, action, strict]) => ({
    ...world,
    policies: [],
    mesh: mesh.flatMap(alike(action, strict === 0)),
  }));

test('of many rules for a proxy it finds the ones that match, and the first of them', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(
      worlds.chain((world) =>
        fc.record({
          world: fc.constant(world),
          flows: fc.array(meshFlowsIn(world), { minLength: 25, maxLength: 25 }),
        }),
      ),
      ({ world, flows }) => {
        const [fast, decide] = [createIndexedDecider()(world), createDecider(world)];
        for (const flow of flows) {
          const { mesh } = decide(flow);
          assert.deepEqual(JSON.parse(JSON.stringify(fast(flow))), JSON.parse(JSON.stringify(decide(flow))));
          const answer = `${mesh?.reason}${mesh?.redirect ? ' later' : ''}${mesh?.logged ? ' logged' : ''}`;
          seen.set(answer, (seen.get(answer) ?? 0) + 1);
        }
      },
    ),
    { numRuns: 150 },
  );
  for (const answer of ['rule', 'rule later', 'default-deny', 'no-policy logged'])
    assert.ok(seen.has(answer), `${answer}: ${JSON.stringify([...seen])}`);
});
