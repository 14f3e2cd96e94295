/** Policies made to be slow. That these tests end is a part of what they say; the rest is counted, not timed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NetworkPolicy } from '../api/types.ts';
import { compile, createCompiler } from './compile.ts';
import { createDecider } from './decide.ts';
import { createIndexedDecider } from './indexed/decider.ts';
import { createLookup } from './lookup.ts';
import type { PolicyObject } from './objects.ts';
import type { PolicyTables } from './tables.ts';
import { flowsIn, policyObject, stagedWorlds } from './testing/arbitraries.ts';
import { mixedWorlds } from './testing/plain-worlds.ts';
import { wireFlow } from './wire-flow.ts';
import type { World, WorldPod } from './world.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const pod = (name: string, i: number, labels: Record<string, string> = { app: name }): WorldPod => ({
  namespace: 'a',
  name,
  node: 'n',
  labels,
  addresses: [`10.0.0.${i + 1}`],
  ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
});
const worldOf = (
  policies: readonly PolicyObject[],
  pods = [pod('p', 0), pod('q', 1), pod('r', 2)],
): World => ({
  pods,
  namespaces: [],
  nodes: [],
  policies,
});
const policy = (name: string, spec: Partial<NetworkPolicy['spec']>): PolicyObject =>
  policyObject('a', name, { podSelector: {}, ...spec });
const range = (i: number): string => `${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`;
const block = (i: number) => ({ ipBlock: { cidr: range(i) } });
const entriesOf = ({ tables }: PolicyTables): number =>
  Iterator.from(tables.values()).reduce((sum, { entries }) => sum + entries.length, 0);
const classesOf = ({ identities }: PolicyTables): number => new Set(identities.values()).size;

/** What all three readers say of TCP to port 80. */
function verdicts(
  world: World,
  tables: PolicyTables,
  ends: readonly (readonly [string, string])[],
): string[] {
  const readers = [createDecider(world), createIndexedDecider()(world)];
  const look = createLookup(tables);
  return ends.map(([src, dst]) => {
    const flow = { src: { address: src }, dst: { address: dst }, protocol: 'TCP', port: 80 } as const;
    const all = [...readers.map((decide) => decide(flow)), look(wireFlow(world, flow))];
    assert.equal(new Set(all.map(({ verdict }) => verdict)).size, 1, `${src} to ${dst}`);
    return all[0]!.verdict;
  });
}

test('100,000 ranges in one policy are one class, one entry, and as many prefixes', () => {
  const of = (count: number) => worldOf([policy('x', { egress: [{ to: upTo(count).map(block) }] })]);
  const tables = compile(of(100_000));
  assert.deepEqual([tables.identities.size, classesOf(tables), entriesOf(tables)], [100_000, 1, 1]);
  const world = of(5000);
  const ends = ['20.0.7.1', '40.0.7.1'].map((dst) => ['10.0.0.1', dst] as const);
  assert.deepEqual(verdicts(world, compile(world), ends), ['allow', 'deny']);
});

test('ranges over many policies are an entry each', () => {
  const policies = upTo(2000).map((p) =>
    policy(`x${p}`, { egress: [{ to: upTo(10).map((i) => block(p * 10 + i)), ports: [{ port: 1 + p }] }] }),
  );
  const tables = compile(worldOf(policies));
  assert.deepEqual([tables.identities.size, entriesOf(tables)], [20_000, 20_000]);
  assert.deepEqual(tables.beyond, []);
});

test('a range with 10,000 exceptions, in which others are told apart, makes no identity long to name', () => {
  const tables = compile(
    worldOf([
      policy('x', {
        egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: upTo(10_000).map(range) } }] }],
      }),
      policy('y', {
        egress: upTo(2000).map((i) => ({ to: [{ ipBlock: { cidr: `100.0.${i >> 8}.${i & 255}/32` } }] })),
      }),
    ]),
  );
  assert.equal(classesOf(tables), 2002);
});

test('10,000 ranges that a Calico rule has, or has not, are one thing to ask of an address', () => {
  const nets = upTo(10_000).map(range);
  const world = worldOf([
    {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'g' },
      spec: {
        types: ['Egress'],
        egress: [
          { action: 'Deny', destination: { nets } },
          { action: 'Allow', destination: { notNets: [...nets, '40.0.0.0/8'] } },
        ],
      },
    },
  ]);
  const tables = compile(world);
  assert.equal(classesOf(tables), 2);
  const ends = ['20.0.7.1', '40.0.0.1', '50.0.0.1'].map((dst) => ['10.0.0.1', dst] as const);
  assert.deepEqual(verdicts(world, tables, ends), ['deny', 'deny', 'allow']);
});

test('10,000 labels of a pod and of a selector, and 10,000 values of an expression, are read once', () => {
  const labels = Object.fromEntries(upTo(10_000).map((i) => [`key-${i}`, `value-${i}`]));
  const values = upTo(10_000).map((i) => `value-${i}`);
  const world = worldOf(
    [
      policy('labels', {
        podSelector: { matchLabels: labels },
        ingress: [{ from: [{ podSelector: { matchLabels: labels } }] }],
      }),
      policy('values', {
        podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: [...values, 'q'] }] },
        ingress: [
          { from: [{ podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values }] } }] },
        ],
      }),
    ],
    [
      pod('p', 0, labels),
      pod('q', 1),
      pod('r', 2, { ...labels, more: 'yes' }),
      pod('s', 3, { app: 'value-7' }),
    ],
  );
  const ends = [
    ['10.0.0.3', '10.0.0.1'],
    ['10.0.0.2', '10.0.0.1'],
    ['10.0.0.1', '10.0.0.2'],
    ['10.0.0.4', '10.0.0.2'],
  ] as const;
  assert.deepEqual(verdicts(world, compile(world), ends), ['allow', 'deny', 'allow', 'deny']);
});

test('a Calico selector in 10,000 parentheses is refused, and the rest of the world decides', () => {
  const deep = `${'('.repeat(10_000)}all()${')'.repeat(10_000)}`;
  const world = worldOf([
    {
      apiVersion: 'projectcalico.org/v3',
      kind: 'GlobalNetworkPolicy',
      metadata: { name: 'deep' },
      spec: { selector: deep, types: ['Ingress'], ingress: [{ action: 'Allow' }] },
    },
    policy('x', { ingress: [{ from: [{ podSelector: { matchLabels: { app: 'q' } } }] }] }),
  ]);
  const tables = compile(world);
  assert.deepEqual(
    tables.problems.map(({ policy: { name }, path }) => [name, path]),
    [['deep', 'spec.selector']],
  );
  const ends = [
    ['10.0.0.2', '10.0.0.1'],
    ['10.0.0.3', '10.0.0.1'],
  ] as const;
  assert.deepEqual(verdicts(world, tables, ends), ['allow', 'deny']);
});

test('regular expressions of requests are refused by their size, and matched in linear time', () => {
  const paths = [
    '((a{1,100}){1,100}){1,100}',
    `${'('.repeat(5000)}a${')'.repeat(5000)}`,
    `${'(a|'.repeat(3000)}b${')*'.repeat(3000)}`,
  ];
  const slow = ['/(a+)+b', '/(a|a)*b', '/(.*a){12}b'];
  const requests = (name: string, app: string, list: readonly string[]): PolicyObject => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'a', name },
    spec: {
      endpointSelector: { matchLabels: { app } },
      ingress: [
        {
          toPorts: [
            { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: list.map((path) => ({ path })) } },
          ],
        },
      ],
    },
  });
  const world = worldOf([requests('bomb', 'p', paths), requests('slow', 'q', slow)]);
  const refused = compile(world).problems;
  for (const i of paths.keys())
    assert.ok(refused.some(({ policy: { name }, path }) => name === 'bomb' && path.includes(`http[${i}]`)));
  assert.ok(refused.every(({ policy: { name } }) => name === 'bomb'));
  const decide = createIndexedDecider()(world);
  const of = (path: string) =>
    decide({
      src: { pod: 'a/p' },
      dst: { pod: 'a/q' },
      protocol: 'TCP',
      port: 80,
      request: { type: 'http', method: 'GET', path, host: 'h', headers: {} },
    }).verdict;
  assert.equal(of(`/${'a'.repeat(20_000)}c`), 'deny');
  assert.equal(of(`/${'a'.repeat(20_000)}b`), 'allow');
});

test('10,000 policies for every pod are an entry each', () => {
  const policies = upTo(10_000).map((i) =>
    policy(`x${i}`, { ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 1 + i }] }] }),
  );
  const tables = compile(worldOf(policies));
  assert.deepEqual([tables.tables.size, entriesOf(tables)], [1, 10_000]);
});

test('of rules that multiply, the policy with the most entries fails closed and is named; the rest is exact', () => {
  const wide = policy('wide', {
    egress: [
      { to: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: upTo(500).map((i) => ({ port: 1 + 2 * i })) },
    ],
  });
  const told = upTo(1000).map((p) =>
    policy(`told-${p}`, { egress: [{ to: [block(p)], ports: [{ port: 80 }] }] }),
  );
  const tables = compile(worldOf([wide, ...told]));
  assert.deepEqual(
    tables.beyond?.map(({ policy: { name }, path, message }) => [name, path, message.split(',')[0]]),
    [['wide', 'spec.egress', 'asks for up to 500500 entries in a table']],
  );
  assert.equal(entriesOf(tables), 1000);
  const look = createLookup(tables);
  const to = (dst: string, port: number) => look({ src: '10.0.0.1', dst, protocol: 'TCP', port }).verdict;
  assert.deepEqual([to('20.0.7.1', 80), to('20.0.7.1', 81), to('50.0.0.1', 81)], ['allow', 'deny', 'deny']);
});

const tight = fc
  .tuple(fc.oneof(stagedWorlds, mixedWorlds), fc.constantFrom(1, 4, 16, 64))
  .chain(([world, limit]) =>
    fc.record({
      world: fc.constant(world),
      limit: fc.constant(limit),
      flows: fc.array(flowsIn(world), { minLength: 10, maxLength: 10 }),
    }),
  );

test('tables that have no room for all rules allow nothing that is denied, and numbers in them are known', () => {
  fc.assert(
    fc.property(tight, ({ world, limit, flows }) => {
      const tables = createCompiler(limit)(world);
      const [decide, look] = [createDecider(world), createLookup(tables)];
      for (const flow of flows) {
        const [want, is] = [decide(flow), look(wireFlow(world, flow))];
        for (const side of ['egress', 'ingress'] as const) {
          if (want[side].verdict === 'deny') assert.equal(is[side].verdict, 'deny');
          // Nor without what is asked for.
          if (is[side].verdict === 'deny') continue;
          if (want[side].auth) assert.ok(is[side].auth, 'without proof');
          if (want[side].redirect) assert.ok(is[side].redirect, 'without its requests being judged');
        }
      }
      for (const { entries } of tables.tables.values())
        for (const { rule, verdict } of entries)
          if (rule !== 0)
            assert.ok(
              tables.rules.has(rule) && (verdict !== 'deny' || tables.rules.get(rule)!.verdict === 'deny'),
            );
    }),
    { numRuns: 300 },
  );
});

test('what has no room is the same after other worlds as in a fresh compiler', () => {
  const plain = ({ tables, rules, beyond }: PolicyTables) => [
    new Map(tables),
    new Map(rules),
    beyond?.map(({ policy: { kind, namespace, name }, path }) => [kind, namespace, name, path]),
  ];
  fc.assert(
    fc.property(fc.oneof(stagedWorlds, mixedWorlds), fc.oneof(stagedWorlds, mixedWorlds), (world, other) => {
      const compiler = createCompiler(8);
      const steps: World[] = [
        world,
        { ...world, pods: world.pods.slice(1) },
        { ...world, policies: world.policies.slice(1) },
        world,
        other,
        { ...other, policies: world.policies },
        world,
      ];
      for (const step of steps) assert.deepEqual(plain(compiler(step)), plain(createCompiler(8)(step)));
    }),
    { numRuns: 100 },
  );
});
