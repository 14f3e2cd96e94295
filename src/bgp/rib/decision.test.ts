import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PathAttributes } from '../wire/attributes.ts';
import { decide } from './decision.ts';
import type { Route, Source } from './route.ts';

interface Draft {
  attributes?: Partial<PathAttributes>;
  path?: readonly number[];
  source?: Source;
  metric?: number;
  id?: number;
}

function route({ attributes = {}, path = [65002], source = 'external', metric = 0, id = 1 }: Draft): Route {
  const address = `10.0.0.${id}`;
  return {
    prefix: '10.1.0.0/16',
    family: 'ipv4',
    teller: { name: address, source, address, identifier: address, localAs: 65001, as: path[0] ?? 65001 },
    attributes: {
      origin: 'igp',
      asPath: path.length > 0 ? [{ type: 'sequence', as: path }] : [],
      ...attributes,
    },
    nextHop: { address },
    way: { via: address, dev: 'a', metric },
    stale: false,
  };
}

for (const [what, better, worse] of [
  ['own routes before learned ones', { source: 'local', id: 9 }, { attributes: { localPref: 900 } }],
  ['local preference', { attributes: { localPref: 200 }, path: [65002, 1, 2], id: 9 }, {}],
  ['100 where there is none', { attributes: { localPref: 101 }, id: 9 }, {}],
  ['the shorter path', { id: 9 }, { path: [65002, 65003] }],
  [
    'a set counts once',
    { attributes: { asPath: [{ type: 'set', as: [1, 2, 3] }] }, id: 9 },
    { path: [65002, 65003] },
  ],
  ['the origin', { id: 9 }, { attributes: { origin: 'egp' } }],
  ['MED from one neighbour', { attributes: { med: 5 }, id: 9 }, { attributes: { med: 6 } }],
  ['MED 0 where there is none', { id: 9 }, { attributes: { med: 1 } }],
  ['external before internal', { id: 9 }, { source: 'internal' }],
  ['the nearer next hop', { source: 'internal', metric: 1, id: 9 }, { source: 'internal', metric: 2 }],
  ['the lower identifier', { id: 2 }, { id: 10 }],
  [
    'the originator for the identifier',
    { attributes: { originatorId: '1.1.1.1' }, id: 9, source: 'internal' },
    { source: 'internal' },
  ],
] as const satisfies readonly (readonly [string, Draft, Draft])[])
  test(`the decision: ${what}`, () => {
    const [one, other] = [route(better), route(worse)];
    assert.deepEqual(decide([one, other]), [one]);
    assert.deepEqual(decide([other, one]), [one]);
  });

test('MED of different neighbours is not compared', () => {
  const [one, other] = [
    route({ path: [65002], attributes: { med: 9 }, id: 1 }),
    route({ path: [65003], attributes: { med: 1 }, id: 2 }),
  ];
  assert.deepEqual(decide([one, other]), [one]);
});

const drafts = fc.uniqueArray(
  fc.record({
    attributes: fc.record({
      med: fc.constantFrom(undefined, 0, 1, 2),
      localPref: fc.constantFrom(undefined, 100, 200),
    }),
    path: fc.constantFrom([65002], [65003], [65002, 65003], [65003, 65002]),
    source: fc.constantFrom<Source>('internal', 'external'),
    metric: fc.nat(2),
    id: fc.integer({ min: 1, max: 250 }),
  }),
  { minLength: 1, maxLength: 7, selector: ({ id }) => id },
);

test('the order in which routes came changes nothing, and the best stays the best when another one goes', () => {
  fc.assert(
    fc.property(
      drafts,
      fc.integer({ min: 1, max: 4 }),
      fc.infiniteStream(fc.nat()),
      (list, most, numbers) => {
        const routes = list.map(route);
        const shuffled = routes
          .map((one) => ({ one, key: numbers.next().value }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ one }) => one);
        const chosen = decide(routes, most);
        assert.deepEqual(decide(shuffled, most), chosen);
        assert.ok(chosen.length >= 1 && chosen.length <= most);
        assert.deepEqual(decide(routes)[0], chosen[0]);
      },
    ),
    { numRuns: 500 },
  );
});

test('traffic is shared among equal ways from one neighbouring AS only', () => {
  const routes = [
    route({ id: 1 }),
    route({ id: 2 }),
    route({ id: 3, path: [65009] }),
    route({ id: 4, path: [65002, 65003] }),
  ];
  assert.deepEqual(
    decide(routes, 8).map(({ teller }) => teller.name),
    ['10.0.0.1', '10.0.0.2'],
  );
});
