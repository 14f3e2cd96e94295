import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from '../compile.ts';
import { createDecider } from '../decide.ts';
import { lowerPolicies, lowerPolicy, type PolicyObject } from '../objects.ts';
import { placeTiers } from './calico-tiers.ts';

const object = (spec: object, namespace?: string): PolicyObject =>
  ({
    apiVersion: 'projectcalico.org/v3',
    kind: namespace === undefined ? 'GlobalNetworkPolicy' : 'NetworkPolicy',
    metadata: { name: 'p', ...(namespace === undefined ? {} : { namespace }) },
    spec,
  }) as unknown as PolicyObject;
const global = (spec: object) => lowerPolicy(object(spec));
const rule = (drawn: object) => global({ ingress: [{ action: 'Allow', ...drawn }] }).rules[0]!;

test('its place is that of its tier, its priority its order', () => {
  const { tier, rules } = global({ order: 2.5, ingress: [{ action: 'Deny' }] });
  assert.deepEqual([tier, rules[0]?.tier, rules[0]?.priority], [1_000_000, 1_000_000, 2.5]);
  assert.equal(global({ ingress: [{ action: 'Deny' }] }).rules[0]?.priority, Infinity);
});

test('the two kinds of one name have references of their own', () => {
  const { ref } = lowerPolicy(object({}, 'a'));
  assert.deepEqual(ref, { kind: 'NetworkPolicy.projectcalico.org', namespace: 'a', name: 'p' });
});

test('tiers of one order keep apart from each other and from those of Kubernetes, in the order of their names', () => {
  const tiers = ['z', 'a'].map((name) => ({ name, order: 1000 }));
  const places = placeTiers([
    ...tiers,
    { name: 'none' },
    { name: 'also-none' },
    { name: 'low', order: -1e300 },
  ]);
  const order = ['low', 'a', 'kube-admin', 'z', 'default', 'kube-baseline', 'also-none', 'none'];
  const numbers = order.map((name) => places.get(name)!.number);
  assert.deepEqual([numbers[2], numbers[4], numbers[5]], [1000, 1_000_000, 10_000_000]);
  for (let i = 1; i < numbers.length; i++) assert.ok(numbers[i - 1]! < numbers[i]!, `${order[i]}`);
});

const ranges = (drawn: object) =>
  rule({ protocol: 'TCP', ...drawn }).ports?.map((port) =>
    'first' in port ? [port.first, port.last] : port,
  );

test('ports that are left out leave ranges', () => {
  assert.deepEqual(ranges({ destination: { notPorts: [80, '90:100'] } }), [
    [0, 79],
    [81, 89],
    [101, 65_535],
  ]);
  assert.deepEqual(ranges({ destination: { ports: ['80:90', 443], notPorts: ['1:85'] } }), [
    [86, 90],
    [443, 443],
  ]);
  assert.deepEqual(ranges({ destination: { ports: [80], notPorts: [80] } }), []);
});

test('a protocol that is left out leaves all others', () => {
  const { ports } = rule({ notProtocol: 'TCP' });
  assert.equal(ports?.length, 255);
  assert.ok(!ports?.some((port) => 'protocol' in port && port.protocol === 'TCP'));
  assert.deepEqual(rule({ protocol: 'UDP', notProtocol: 17 }).ports, []);
});

test('types of ICMP that are left out leave all others', () => {
  const types = (drawn: object) => rule({ protocol: 'ICMP', ...drawn }).ports ?? [];
  assert.deepEqual(types({ icmp: { type: 8 } }), [{ protocol: 'ICMP', family: 4, type: 8 }]);
  assert.equal(types({ notICMP: { type: 8 } }).length, 255);
  assert.equal(types({ notICMP: { type: 8, code: 3 } }).length, 255 + 255);
  assert.deepEqual(types({ icmp: { type: 8, code: 3 }, notICMP: { type: 8, code: 3 } }), []);
});

test('rules for some of the pods are a part beside the policy, and close nothing', () => {
  const allow = { action: 'Allow' };
  const [whole, ...parts] = lowerPolicies(
    object({
      selector: "app == 'a'",
      ingress: [
        allow,
        { ...allow, destination: { selector: 'has(x)' } },
        { ...allow, destination: { selector: 'has(x)' }, protocol: 'TCP' },
        { ...allow, destination: { selector: 'has(y)' } },
      ],
    }),
  );
  assert.deepEqual([whole?.rules.length, whole?.isolates.ingress], [1, true]);
  assert.deepEqual(
    parts.map(({ ref, rules, isolates }) => [
      ref.part,
      rules.map(({ ref: { index } }) => index),
      isolates.ingress,
    ]),
    [
      ['spec.ingress[1]', [1, 2], false],
      ['spec.ingress[3]', [3], false],
    ],
  );
});

test('a set of ten thousand ranges is one thing to ask, in many policies too', () => {
  const cidrs = Array.from({ length: 10_000 }, (_, i) => `20.${i >> 8}.${i & 255}.0/25`);
  const world = {
    pods: Array.from({ length: 30 }, (_, i) => ({
      namespace: 'a',
      name: `p${i}`,
      node: 'n',
      labels: { app: `x${i}` },
      addresses: [`10.244.0.${i}`],
      ports: [],
    })),
    namespaces: [],
    nodes: [],
    policies: Array.from({ length: 30 }, (_, i) => ({
      ...object({
        selector: `app == 'x${i}'`,
        egress: [{ action: 'Deny', destination: { selector: 'has(bad)' } }, { action: 'Allow' }],
      }),
      metadata: { name: `p${i}` },
    })) as PolicyObject[],
    surroundings: {
      addressSets: [{ kind: 'GlobalNetworkSet', namespace: '', name: 's', labels: { bad: '' }, cidrs }],
    },
  };
  const entries = [...compile(world).tables.values()].reduce((sum, table) => sum + table.entries.length, 0);
  assert.ok(entries <= 30 * 2, `${entries} entries`);
  const to = (address: string) =>
    createDecider(world)({ src: { pod: 'a/p1' }, dst: { address }, protocol: 'TCP', port: 1 }).verdict;
  assert.deepEqual([to('20.3.7.5'), to('20.3.7.200')], ['deny', 'allow']);
});
