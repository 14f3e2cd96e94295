import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, parseAddress, parseCidr } from '../../lib/ip.ts';
import { peerMatches } from '../decide.ts';
import {
  allOf,
  anyOf,
  blockPeer,
  entityPeer,
  type LeafPeer,
  namePeer,
  nodePeer,
  not,
  outsideBlock,
  type Peer,
  podPeer,
} from '../peers.ts';
import { buildPlaces, type Places, whoIs } from '../scene.ts';
import { parseSelector, type Selector } from '../selector.ts';
import { worlds } from '../testing/arbitraries.ts';
import { createEndClasses, holds } from './end-classes.ts';
import { indexPeers } from './peer-index.ts';
import { indexRanges } from './ranges.ts';

const selectorOf = (matchLabels: Record<string, string | undefined>): Selector => {
  const parsed = parseSelector({ matchLabels: matchLabels as Record<string, string> });
  assert.ok(parsed.ok);
  return parsed.selector;
};
const selector = fc
  .constantFrom(
    {},
    { app: 'web' },
    { app: 'db', tier: 'x' },
    { old: '' },
    { 'kubernetes.io/metadata.name': 'b' },
  )
  .map((labels) => selectorOf({ ...labels }));
const ranges = [
  '0.0.0.0/0',
  '::/0',
  '10.244.0.0/16',
  '10.244.1.0/28',
  '10.244.1.2/32',
  '8.8.8.8/32',
  'fd00:10:244:2::/64',
];
const cidr = fc.constantFrom(...ranges).map(parseCidr);
const leaf: fc.Arbitrary<LeafPeer> = fc.oneof(
  fc.tuple(fc.constantFrom('a', 'b'), selector).map(([name, pods]) => podPeer({ name }, pods)),
  fc.tuple(selector, selector).map(([namespaces, pods]) => podPeer({ selector: namespaces }, pods)),
  fc.tuple(cidr, fc.array(cidr, { maxLength: 2 })).map(([range, except]) => blockPeer(range, except)),
  fc.constantFrom(selectorOf({}), selectorOf({ zone: 'x' })).map(nodePeer),
  fc
    .constantFrom(
      'world' as const,
      'cluster' as const,
      'host' as const,
      'remote-node' as const,
      'all' as const,
    )
    .map(entityPeer),
  fc
    .constantFrom('a.example', 'b.example')
    .map((name) => namePeer([{ matches: (text) => text === name, text: name }])),
);
const { peer } = fc.letrec<{ peer: Peer }>((tie) => ({
  peer: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 4, arbitrary: leaf },
    { weight: 1, arbitrary: fc.array(tie('peer'), { maxLength: 3 }).map(allOf) },
    { weight: 1, arbitrary: fc.array(tie('peer'), { maxLength: 3 }).map(anyOf) },
    { weight: 1, arbitrary: tie('peer').map(not) },
    { weight: 1, arbitrary: cidr.map((range) => outsideBlock(range, [])) },
  ),
}));

const others = [
  '10.244.1.2',
  '10.244.1.14',
  '8.8.8.8',
  '1.1.1.1',
  '10.240.0.12',
  '2001:db8::1',
  'fd00:10:244:2::f',
  'fd00:10:240::c',
];

const endsIn = (places: Places) => [
  ...places.pods.flatMap((pod) => [
    { type: 'pod', pod, address: undefined } as const,
    ...pod.addresses.map((text) => ({ type: 'pod', pod, address: parseAddress(text) }) as const),
  ]),
  ...places.nodes.map(({ name }) => ({ type: 'node', node: name, address: undefined }) as const),
  ...[...others, ...places.nodes.flatMap(({ addresses }) => addresses)].map((text) =>
    whoIs(places, parseAddress(text)),
  ),
];

test('a class has the sets of which a peer holds, however peers are combined', () => {
  const lists = fc.array(fc.array(peer, { maxLength: 3 }), { maxLength: 40 });
  const names = [
    { name: 'a.example', addresses: ['1.1.1.1', '10.244.1.2'] },
    { name: 'b.example', addresses: ['2001:db8::1', '10.240.0.12'] },
  ];
  fc.assert(
    fc.property(worlds, lists, (world, sets) => {
      const places = buildPlaces({ ...world, names });
      const classes = createEndClasses(places, sets);
      // Twice: what is remembered says the same.
      for (const end of [...endsIn(places), ...endsIn(places)])
        for (const [set, peers] of sets.entries())
          assert.equal(
            holds(classes.of(end), set),
            peers.some((each) => peerMatches(places, each, end)),
            peers.map(({ text }) => text).join(' or '),
          );
    }),
    { numRuns: 500 },
  );
});

test('an address read fast is in the class of the same address read with care', () => {
  fc.assert(
    fc.property(
      fc.array(leaf, { maxLength: 20 }),
      fc.nat(0xffffffff),
      fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 }),
      (peers, value, groups) => {
        const places = buildPlaces({ pods: [], namespaces: [], nodes: [] });
        const classes = createEndClasses(
          places,
          peers.map((each) => [each]),
        );
        const endOf = (address: Address) => ({ type: 'outside', address }) as const;
        const four = { family: 4, value: BigInt(value) } as const;
        const six = {
          family: 6,
          value: groups.reduce((all, group) => (all << 16n) | BigInt(group), 0n),
        } as const;
        assert.equal(classes.at(classes.place4(value), endOf(four)), classes.of(endOf(four)));
        assert.equal(classes.at(classes.place6(groups), endOf(six)), classes.of(endOf(six)));
      },
    ),
  );
});

test('of many peers a pod is asked those that want a label that it has', () => {
  const sets = Array.from({ length: 10_000 }, (_, i) => [
    podPeer({ selector: selectorOf({}) }, selectorOf({ tier: 'x', app: `app-${i}` })),
  ]);
  const asked = [...indexPeers(sets).forPod('a', { app: 'app-7', tier: 'x' })];
  assert.deepEqual(
    asked.map(({ set }) => set),
    [7],
  );
});

test('ranges that overlap take room for each about once, not for each pair', () => {
  const count = 5000;
  const numbers = Array.from({ length: count }, (_, i) => i);
  const index = indexRanges(
    numbers.flatMap((i) => [
      { cidr: parseCidr('10.0.0.0/8'), value: i },
      { cidr: parseCidr(`10.0.${i >> 8}.${i & 255}/32`), value: i },
      { cidr: parseCidr(`10.${i % 256}.0.0/${9 + (i % 8)}`), value: i },
    ]),
  );
  assert.ok(index.room < 3 * count * 2 * Math.log2(index.places));
  assert.ok(index.valuesAt(index.place(parseAddress('10.0.0.7'))).length > count);
});
