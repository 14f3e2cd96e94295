import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { commonPodMtu, ENCAPSULATIONS, overheadOf, podMtu, TUNNELS } from './encapsulation.ts';

const both = { podFamilies: [4, 6], underlayFamily: 4 } as const;

test('each encapsulation costs what its headers are long', () => {
  const rows = ENCAPSULATIONS.map((name) => [name, overheadOf(name, 4), overheadOf(name, 6)]);
  assert.deepEqual(rows, [
    ['native', 0, 0],
    ['vxlan', 50, 70],
    ['geneve', 50, 70],
    ['gre', 24, 44],
  ]);
  assert.equal(overheadOf('gre', 4, { greKey: true }), 28);
  assert.equal(overheadOf('geneve', 6, { geneveOptions: 8 }), 78);
});

test('pods get what the underlay link leaves, whatever its size', () => {
  const mtuOn = (underlayMtu: number) =>
    ENCAPSULATIONS.map((encapsulation) => podMtu({ ...both, encapsulation, underlayMtu }));
  assert.deepEqual(mtuOn(1500), [1500, 1450, 1450, 1476]);
  assert.deepEqual(mtuOn(9000), [9000, 8950, 8950, 8976]);
  assert.deepEqual(mtuOn(65_536), [65_535, 65_485, 65_485, 65_511]);
});

test('an underlay that is too narrow for IPv6 says what it must be', () => {
  const narrow = { encapsulation: 'vxlan', underlayFamily: 4, underlayMtu: 1300 } as const;
  assert.throws(() => podMtu({ ...narrow, podFamilies: [4, 6] }), {
    code: 'UnderlayMtu',
    hint: /1330 or more/,
  });
  assert.equal(podMtu({ ...narrow, podFamilies: [4] }), 1250);
});

test('what pods send during a change fits every way at once', () => {
  const way = fc.constantFrom(...ENCAPSULATIONS);
  fc.assert(
    fc.property(
      fc.array(way, { minLength: 1 }),
      fc.integer({ min: 1400, max: 9000 }),
      (ways, underlayMtu) => {
        const common = commonPodMtu(ways, { ...both, underlayMtu });
        for (const encapsulation of ways) {
          const mtu = podMtu({ ...both, encapsulation, underlayMtu });
          assert.ok(common <= mtu && common + overheadOf(encapsulation, 4) <= underlayMtu);
        }
      },
    ),
  );
  assert.deepEqual(TUNNELS, ['vxlan', 'geneve', 'gre']);
});
