import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile, createCompiler } from './compile.ts';
import { createDecider } from './decide.ts';
import { createIndexedDecider } from './indexed/decider.ts';
import { createLookup } from './lookup.ts';
import { flowsIn, policyObject, worlds } from './testing/arbitraries.ts';
import { wireFlow } from './wire-flow.ts';
import type { World } from './world.ts';

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** All of 10.244.0.0/16 that flows go to, in ranges of many lengths, and some more. */
const ranges = [
  ...Array.from({ length: 64 }, (_, i) => `10.244.1.${i}/32`),
  ...Array.from({ length: 32 }, (_, i) => `10.244.${i}.0/24`),
  ...Array.from({ length: 16 }, (_, i) => `10.${240 + (i % 16)}.0.0/${9 + (i % 8)}`),
  '8.8.8.0/24',
  'fd00:10:244:1::/64',
  'fd00:10:244:2::8/125',
];
const longRule = fc.record({
  to: fc
    .shuffledSubarray(ranges, { minLength: 34 })
    .map((list) => list.map((cidr) => ({ ipBlock: { cidr } }))),
  ports: fc.constantFrom([{ port: 80 }], [{ port: 'http' }], []),
});
/** Asks for some of the ranges alone. */
const shortPolicy = fc
  .tuple(fc.constantFrom('a', 'b'), fc.shuffledSubarray(ranges, { minLength: 1, maxLength: 3 }))
  .map(([namespace, list]) =>
    policyObject(namespace, 'short', {
      podSelector: {},
      egress: [{ to: list.map((cidr) => ({ ipBlock: { cidr } })), ports: [{ port: 443 }] }],
    }),
  );
const longPolicy = fc
  .tuple(fc.constantFrom('a', 'b'), fc.nat(), fc.array(longRule, { minLength: 1, maxLength: 3 }))
  .map(([namespace, name, egress]) => policyObject(namespace, `long-${name}`, { podSelector: {}, egress }));
const drawn = fc
  .tuple(worlds, shortPolicy, fc.array(longPolicy, { minLength: 1, maxLength: 3 }))
  .chain(([rest, short, more]) => {
    const without: World = { ...rest, policies: [...rest.policies, short] };
    const world: World = { ...rest, policies: [...without.policies, ...more] };
    return fc.record({
      without: fc.constant(without),
      world: fc.constant(world),
      flows: fc.array(flowsIn(world), { minLength: 20, maxLength: 20 }),
    });
  });

test('of long lists of ranges the tables and the index say what the policies say, also where lists come and go', () => {
  fc.assert(
    fc.property(drawn, ({ without, world, flows }) => {
      const [compiler, indexed] = [createCompiler(), createIndexedDecider()];
      const one = { ...world, policies: world.policies.slice(0, -1) };
      const long = { ...world, policies: world.policies.slice(without.policies.length) };
      for (const each of [without, world, one, long, world, without]) {
        const [decide, look, fast] = [createDecider(each), createLookup(compiler(each)), indexed(each)];
        for (const flow of flows) {
          const want = plain(decide(flow));
          assert.deepEqual(plain(look(wireFlow(each, flow))), want);
          assert.deepEqual(plain(fast(flow)), want);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('ranges that no rule tells apart are one class: entries go with rules, not with ranges', () => {
  const lists = [0, 1].map((list) =>
    Array.from({ length: 10_000 }, (_, i) => ({
      ipBlock: { cidr: `${11 + list}.${i >> 8}.${i & 255}.0/24` },
    })),
  );
  const ports = Array.from({ length: 50 }, (_, i) => ({ port: 1 + 10 * i, endPort: 5 + 10 * i }));
  const world: World = {
    pods: [{ namespace: 'a', name: 'p', node: 'n', labels: {}, addresses: ['10.0.0.1'], ports: [] }],
    namespaces: [],
    nodes: [],
    policies: [policyObject('a', 'long', { podSelector: {}, egress: lists.map((to) => ({ to, ports })) })],
  };
  const { tables, identities } = compile(world);
  const [table] = tables
    .values()
    .toArray()
    .filter(({ direction }) => direction === 'egress');
  assert.equal(identities.size, 20_000);
  assert.equal(new Set(identities.values()).size, 2);
  assert.equal(table!.entries.length, 2 * 50);
});

test('a short rule that comes tells a range of a long list apart', () => {
  const blocks = Array.from({ length: 40 }, (_, i) => ({ ipBlock: { cidr: `192.0.2.${i}/32` } }));
  const policy = (name: string, to: typeof blocks, port: number) =>
    policyObject('a', name, { podSelector: {}, egress: [{ to, ports: [{ port }] }] });
  const before: World = {
    pods: [{ namespace: 'a', name: 'p', node: 'n', labels: {}, addresses: ['10.0.0.1'], ports: [] }],
    namespaces: [],
    nodes: [],
    policies: [policy('long', blocks, 80)],
  };
  const after: World = {
    ...before,
    policies: [...before.policies, policy('short', blocks.slice(7, 8), 443)],
  };
  const compiler = createCompiler();
  const verdicts = (world: World) => {
    const look = createLookup(compiler(world));
    return ['192.0.2.7', '192.0.2.8'].map(
      (dst) => look({ src: '10.0.0.1', dst, protocol: 'TCP', port: 443 }).verdict,
    );
  };
  assert.deepEqual(verdicts(before), ['deny', 'deny']);
  assert.deepEqual(verdicts(after), ['allow', 'deny']);
  assert.deepEqual(verdicts(before), ['deny', 'deny']);
});
