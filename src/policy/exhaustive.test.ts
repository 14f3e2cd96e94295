/**
 * Small worlds, all of them: every policy of up to two rules over 3 namespaces, 3 pods in each, 3 ports and 3 protocols,
 * above and below others. What decide says, the compiled tables say, and the second reading says, is the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compile } from './compile.ts';
import { createDecider } from './decide.ts';
import type { Side } from './decision.ts';
import { createLookup } from './lookup.ts';
import type { PolicyObject } from './objects.ts';
import { policyObject } from './testing/arbitraries.ts';
import { readSide } from './testing/reading.ts';
import type { Flow, World, WorldPod } from './world.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';
const PORTS = [80, 81, 443];
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
const TEAMS: Readonly<Record<string, string>> = { a: 'blue', b: 'red', c: 'red' };
const SUBJECT = '10.1.0.1';

const pods: WorldPod[] = ['a', 'b', 'c'].flatMap((namespace, i) =>
  ['web', 'db', 'job'].map((app, j) => ({
    namespace,
    name: app,
    node: `node-${(j % 2) + 1}`,
    labels: { app },
    addresses: [`10.1.${i}.${j + 1}`],
    ports: [{ name: 'http', port: PORTS[j]!, protocol: 'TCP' as const }],
  })),
);

const worldOf = (policies: readonly PolicyObject[]): World => ({
  pods,
  namespaces: Object.entries(TEAMS).map(([name, team]) => ({ name, labels: { team } })),
  nodes: [
    { name: 'node-1', addresses: ['10.2.0.1'], labels: { zone: 'x' } },
    { name: 'node-2', addresses: ['10.2.0.2'], labels: { zone: 'y' } },
  ],
  policies,
  nodeLocal: [],
});

const others = [...pods.map(({ addresses }) => addresses[0]!), '10.2.0.2', '198.51.100.1'];
const transports: Pick<Flow, 'protocol' | 'port'>[] = [
  ...PROTOCOLS.flatMap((protocol) => PORTS.map((port) => ({ protocol, port }))),
  { protocol: 'ICMP' },
];
/** Between the subject, `a/web`, and everybody. */
const flows = (direction: 'ingress' | 'egress'): Flow[] =>
  others.flatMap((address) =>
    transports.map((transport) => {
      const [here, there] = [{ address: SUBJECT }, { address }];
      return {
        ...(direction === 'ingress' ? { src: there, dst: here } : { src: here, dst: there }),
        ...transport,
        family: 4,
      };
    }),
  );

/** None, one, or two of them in each order. */
const upToTwo = <T>(rules: readonly T[]): T[][] => [
  [],
  ...rules.map((rule) => [rule]),
  ...rules.flatMap((first) => rules.map((second) => [first, second])),
];

const product = <A, B>(first: readonly A[], second: readonly B[]): [A, B][] =>
  first.flatMap((a) => second.map((b): [A, B] => [a, b]));

function agree(
  worlds: Iterable<World>,
  direction: 'ingress' | 'egress',
): { worlds: number; verdicts: Set<string> } {
  const asked = flows(direction);
  const verdicts = new Set<string>();
  let count = 0;
  for (const world of worlds) {
    count++;
    const [decide, look] = [createDecider(world), createLookup(compile(world))];
    for (const flow of asked) {
      const side = decide(flow)[direction];
      const text = textOf(side);
      verdicts.add(text.split(' ', 2).join(' '));
      const wire = { ...flow, src: addressOf(flow.src), dst: addressOf(flow.dst) };
      const found = look(wire)[direction];
      const read = readSide(world, flow, direction === 'ingress');
      const wanted = read ? `${read.verdict} ${read.rule ?? ''}` : 'allow ';
      if (text !== wanted || textOf(found) !== wanted || found.ruleNumber !== side.ruleNumber)
        assert.fail(
          `${JSON.stringify(flow)} in ${JSON.stringify(world.policies)}: decide ${text}, tables ${textOf(found)}, reading ${wanted}`,
        );
    }
  }
  return { worlds: count, verdicts };
}

const addressOf = (end: Flow['src']): string => ('address' in end ? end.address : '');

const textOf = ({ verdict, rule }: Side): string =>
  `${verdict} ${rule ? `${rule.kind} ${rule.namespace}/${rule.name} ${rule.index}` : ''}`;

const namespacedPeers = [
  undefined,
  { podSelector: { matchLabels: { app: 'db' } } },
  { namespaceSelector: { matchLabels: { team: 'red' } } },
  { namespaceSelector: {}, podSelector: { matchLabels: { app: 'web' } } },
  { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.1.0/24'] } },
];
const namespacedPorts = [
  undefined,
  { port: 80 },
  { port: 80, endPort: 443, protocol: 'UDP' },
  { port: 'http' },
  { protocol: 'SCTP' },
];

for (const direction of ['ingress', 'egress'] as const)
  test(`every NetworkPolicy of up to two ${direction} rules, alone and with another`, () => {
    const side = direction === 'ingress' ? 'from' : 'to';
    const rules = product(namespacedPeers, namespacedPorts).map(([peer, port]) => ({
      ...(peer ? { [side]: [peer] } : {}),
      ...(port ? { ports: [port] } : {}),
    }));
    const types = [direction === 'ingress' ? 'Ingress' : 'Egress'];
    const first = policyObject('a', 'first', {
      podSelector: {},
      policyTypes: types,
      [direction]: [{ ports: [{ port: 81 }] }],
    });
    const policies = upToTwo(rules).map((list) =>
      policyObject('a', 'p', {
        podSelector: { matchLabels: { app: 'web' } },
        policyTypes: types,
        [direction]: list,
      }),
    );
    const { worlds, verdicts } = agree(
      policies.flatMap((policy, i) => [worldOf(i % 5 === 0 ? [first, policy] : [policy])]),
      direction,
    );
    assert.equal(worlds, 1 + 25 + 625);
    assert.deepEqual([...verdicts].sort(), ['allow ', 'allow NetworkPolicy', 'deny ']);
  });

const red = { namespaces: { matchLabels: { team: 'red' } } };
const clusterPeers = {
  ingress: [
    { namespaces: {} },
    red,
    { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'db' } } } },
  ],
  egress: [{ namespaces: {} }, red, { nodes: {} }, { networks: ['10.1.1.0/24', '198.51.100.0/24'] }],
};
const adminPorts = [
  undefined,
  { portNumber: { port: 80 } },
  { portRange: { protocol: 'UDP', start: 80, end: 81 } },
  { namedPort: 'http' },
];
const clusterPorts = [
  undefined,
  { tcp: { destinationPort: { number: 80 } } },
  { sctp: { destinationPort: { range: { start: 81, end: 443 } } } },
];

/** What stands below the tier: nothing, a NetworkPolicy, baselines. */
const below = (direction: 'ingress' | 'egress'): PolicyObject[][] => [
  [],
  [
    policyObject('a', 'isolating', {
      podSelector: {},
      policyTypes: [direction === 'ingress' ? 'Ingress' : 'Egress'],
      [direction]: [{ ports: [{ port: 80 }, { port: 443, protocol: 'UDP' }] }],
    }),
    baseline(direction),
  ],
  [baseline(direction)],
];

const baseline = (direction: 'ingress' | 'egress') =>
  ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
    spec: {
      subject: { namespaces: {} },
      [direction]: [
        {
          action: 'Allow',
          [direction === 'ingress' ? 'from' : 'to']: [red],
          ports: [{ portNumber: { port: 443 } }],
        },
        { action: 'Deny', [direction === 'ingress' ? 'from' : 'to']: [{ namespaces: {} }] },
      ],
    },
  }) as PolicyObject;

test('every AdminNetworkPolicy of up to two ingress rules, above nothing, a NetworkPolicy and a baseline', () => {
  const rules = product(product(['Allow', 'Deny', 'Pass'], clusterPeers.ingress), adminPorts).map(
    ([[action, peer], port]) => ({ action, from: [peer], ...(port ? { ports: [port] } : {}) }),
  );
  const all = product(upToTwo(rules), below('ingress'));
  // Otherwise each above one of them, in turns that no rule of a pair decides alone.
  const asked = deep ? all : all.filter((_, i) => i % 3 === (Math.floor(i / 3) + Math.floor(i / 108)) % 3);
  const worlds = asked.map(([ingress, rest]) =>
    worldOf([
      {
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: 'AdminNetworkPolicy',
        metadata: { name: 'p' },
        spec: { priority: 1, subject: { namespaces: { matchLabels: { team: 'blue' } } }, ingress },
      },
      ...rest,
    ]),
  );
  const { verdicts } = agree(worlds, 'ingress');
  assert.equal(worlds.length, (deep ? 3 : 1) * (1 + 36 + 36 * 36));
  assert.ok(verdicts.has('deny AdminNetworkPolicy') && verdicts.has('deny BaselineAdminNetworkPolicy'));
});

for (const tier of ['Admin', 'Baseline'])
  test(`every ClusterNetworkPolicy of tier ${tier} of up to two egress rules, with a NetworkPolicy and a baseline`, () => {
    const rules = product(product(['Accept', 'Deny', 'Pass'], clusterPeers.egress), clusterPorts).map(
      ([[action, peer], port]) => ({ action, to: [peer], ...(port ? { protocols: [port] } : {}) }),
    );
    const worlds = upToTwo(rules).map((egress, i) =>
      worldOf([
        {
          apiVersion: 'policy.networking.k8s.io/v1alpha2',
          kind: 'ClusterNetworkPolicy',
          metadata: { name: 'p' },
          spec: { tier, priority: 1, subject: { namespaces: {} }, egress },
        },
        ...below('egress')[i % 3]!,
      ]),
    );
    const { verdicts } = agree(worlds, 'egress');
    assert.equal(worlds.length, 1 + 36 + 36 * 36);
    assert.ok(verdicts.has('deny ClusterNetworkPolicy') && verdicts.has('allow ClusterNetworkPolicy'));
  });
