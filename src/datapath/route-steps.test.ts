import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Encapsulation, ENCAPSULATIONS, podMtu } from './encapsulation.ts';
import { ROUTE_STEPS, takeStep, wayOf, type WayOfNode } from './route-steps.ts';

const mtuOf = (encapsulation: Encapsulation): number =>
  podMtu({ encapsulation, underlayFamily: 4, underlayMtu: 1500, podFamilies: [4, 6] });

const sent = ({ mtu, limit }: WayOfNode): number => Math.min(mtu, limit ?? mtu);

/** Whatever pods send fits the way out, every link that takes it in, and is heard. */
function assertSound(nodes: readonly WayOfNode[]): void {
  for (const from of nodes) {
    assert.ok(sent(from) <= mtuOf(from.sends), JSON.stringify(nodes));
    for (const to of nodes) {
      assert.ok(to.sends === from.sends || to.accepts.includes(from.sends), JSON.stringify(nodes));
      assert.ok(sent(from) <= to.mtu, JSON.stringify(nodes));
    }
  }
}

test('at every moment of a change each node hears every other, and what pods send fits everywhere', () => {
  const way = fc.constantFrom(...ENCAPSULATIONS);
  fc.assert(
    fc.property(
      way,
      way,
      fc.integer({ min: 1, max: 4 }),
      fc.infiniteStream(fc.boolean()),
      (from, to, count, again) => {
        const nodes = Array.from({ length: count }, () => wayOf(from, mtuOf));
        for (const step of ROUTE_STEPS)
          for (const i of nodes.keys()) {
            nodes[i] = takeStep(nodes[i]!, step, to, mtuOf);
            if (again.next().value) assert.deepEqual(takeStep(nodes[i], step, to, mtuOf), nodes[i]);
            assertSound(nodes);
          }
        assert.deepEqual(
          nodes,
          nodes.map(() => wayOf(to, mtuOf)),
        );
      },
    ),
  );
});

test('a change that was given up in the middle is finished, or goes elsewhere', () => {
  const way = fc.constantFrom(...ENCAPSULATIONS);
  const stop = fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 3 }));
  fc.assert(
    fc.property(way, way, way, stop, (from, first, then, [lastStep, lastNode]) => {
      const nodes = Array.from({ length: 3 }, () => wayOf(from, mtuOf));
      for (const [s, step] of ROUTE_STEPS.entries())
        for (const i of nodes.keys())
          if (s < lastStep || (s === lastStep && i < lastNode))
            nodes[i] = takeStep(nodes[i]!, step, first, mtuOf);
      for (const step of ROUTE_STEPS)
        for (const i of nodes.keys()) {
          nodes[i] = takeStep(nodes[i]!, step, then, mtuOf);
          assertSound(nodes);
        }
      assert.deepEqual(nodes[2], wayOf(then, mtuOf));
    }),
  );
});

test('a step that was left out is named', () => {
  const start = wayOf('vxlan', mtuOf);
  assert.throws(() => takeStep(start, 'send', 'native', mtuOf), { code: 'RouteStep', hint: /accept native/ });
  assert.throws(() => takeStep(start, 'settle', 'native', mtuOf), { code: 'RouteStep' });
});
