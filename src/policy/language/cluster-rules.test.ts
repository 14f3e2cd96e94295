import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lowerPolicy, type PolicyObject } from '../objects.ts';
import type { Policy } from '../model.ts';

const everybody = [{ namespaces: {} }];
const admin = (spec: object): Policy =>
  lowerPolicy({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'p' },
    spec: { priority: 1, subject: { namespaces: {} }, ...spec },
  } as unknown as PolicyObject);
const cluster = (spec: object): Policy =>
  lowerPolicy({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'p' },
    spec: { tier: 'Admin', priority: 1, subject: { namespaces: {} }, ...spec },
  } as unknown as PolicyObject);
const paths = ({ problems }: Policy) => problems.map(({ path }) => path);

test('a rule keeps its object, direction, place, path and name', () => {
  const { rules } = admin({
    ingress: [{ name: 'first', action: 'Deny', from: everybody }],
    egress: [{ action: 'Pass', to: everybody }],
  });
  assert.deepEqual(
    rules.map(({ ref }) => ref),
    [
      {
        kind: 'AdminNetworkPolicy',
        namespace: '',
        name: 'p',
        direction: 'ingress',
        index: 0,
        path: 'spec.ingress[0]',
        title: 'first',
      },
      {
        kind: 'AdminNetworkPolicy',
        namespace: '',
        name: 'p',
        direction: 'egress',
        index: 0,
        path: 'spec.egress[0]',
      },
    ],
  );
});

const unreadable: [what: string, rule: object, path: string][] = [
  ['an unknown action', { action: 'Log', to: everybody }, 'action'],
  ['no peers', { action: 'Deny' }, 'to'],
  ['an empty list of peers', { action: 'Deny', to: [] }, 'to'],
  ['a peer without a field', { action: 'Deny', to: [{}] }, 'to[0]'],
  ['a peer with two', { action: 'Deny', to: [{ namespaces: {}, nodes: {} }] }, 'to[0]'],
  ['an unknown peer beside a known one', { action: 'Deny', to: [...everybody, { x: 1 }] }, 'to[1]'],
  [
    'a selector that is none',
    { action: 'Deny', to: [{ nodes: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } }] },
    'to[0].nodes.matchExpressions[0].operator',
  ],
  [
    'pods without a podSelector',
    { action: 'Deny', to: [{ pods: { namespaceSelector: {} } }] },
    'to[0].pods.podSelector',
  ],
  ['a range that is none', { action: 'Deny', to: [{ networks: ['10.0.0.0'] }] }, 'to[0].networks[0]'],
  ['domain names', { action: 'Deny', to: [{ domainNames: ['a.b'] }] }, 'to[0].domainNames'],
];
const ports: [what: string, port: object, path: string][] = [
  ['a port without a field', {}, ''],
  ['a port with two', { namedPort: 'a', portNumber: { port: 1 } }, ''],
  ['port 0', { portNumber: { port: 0 } }, '.portNumber.port'],
  ['a protocol without ports', { portNumber: { port: 1, protocol: 'ICMP' } }, '.portNumber.protocol'],
  ['a range backwards', { portRange: { start: 2, end: 1 } }, '.portRange'],
  ['an empty name', { namedPort: '' }, '.namedPort'],
];
const all = [
  ...unreadable,
  ...ports.map(
    ([what, port, path]) =>
      [what, { action: 'Deny', to: everybody, ports: [port] }, `ports[0]${path}`] as const,
  ),
];

for (const [what, rule, path] of all)
  test(`${what} fails closed, and is reported with its path`, () => {
    for (const action of ['Deny', 'Pass', 'Allow']) {
      const policy = admin({ egress: [path === 'action' ? rule : { ...rule, action }] });
      assert.deepEqual(paths(policy), [`spec.egress[0].${path}`]);
      const [lowered] = policy.rules;
      const isAllowing = action === 'Allow' && path !== 'action';
      assert.deepEqual(
        [lowered?.verdict, lowered?.peers, lowered?.ports],
        isAllowing ? ['allow', [], []] : ['deny', null, null],
      );
    }
  });

test('sources are pods: nodes and ranges are no source', () => {
  for (const peer of [{ nodes: {} }, { networks: ['10.0.0.0/8'] }])
    assert.deepEqual(paths(admin({ ingress: [{ action: 'Deny', from: [peer] }] })), [
      'spec.ingress[0].from[0]',
    ]);
});

test('a policy whose subject, tier or priority cannot be read is for nobody', () => {
  const ingress = [{ action: 'Deny', from: everybody }];
  for (const [policy, path] of [
    [admin({ ingress, subject: {} }), 'spec.subject'],
    [admin({ ingress, subject: { planets: {} } }), 'spec.subject'],
    [
      admin({
        ingress,
        subject: { pods: { podSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } } },
      }),
      'spec.subject.pods.podSelector.matchExpressions[0].values',
    ],
    [admin({ ingress, priority: undefined }), 'spec.priority'],
    [cluster({ ingress, priority: 1001 }), 'spec.priority'],
    [cluster({ ingress, tier: 'Other' }), 'spec.tier'],
  ] as const) {
    assert.deepEqual([paths(policy), policy.rules, policy.concerns.ingress], [[path], [], false]);
  }
});
