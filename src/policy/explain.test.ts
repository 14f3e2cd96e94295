import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explain } from './explain.ts';
import type { PolicyObject } from './objects.ts';
import { policyObject, staged } from './testing/arbitraries.ts';
import { flowOf } from './testing/flow-text.ts';
import type { World } from './world.ts';

const world: World = {
  pods: [
    { namespace: 'pay', name: 'api', node: 'n1', labels: { app: 'api' }, addresses: ['10.1.0.1'], ports: [] },
    {
      namespace: 'shop',
      name: 'web',
      node: 'n2',
      labels: { app: 'web' },
      addresses: ['10.1.0.2'],
      ports: [],
    },
  ],
  namespaces: [],
  nodes: [{ name: 'n1', addresses: ['10.0.0.1'] }],
  policies: [
    policyObject('pay', 'default-deny', { podSelector: {} }),
    policyObject('pay', 'api', {
      podSelector: { matchLabels: { app: 'api' } },
      ingress: [
        { from: [{ namespaceSelector: {} }], ports: [{ port: 443 }, { port: 8000, endPort: 8100 }] },
        { from: [{ podSelector: { matchLabels: { app: 'jobs' } } }, { ipBlock: { cidr: '10.9.0.0/16' } }] },
        { from: [{ podSelector: {} }], ports: [{ port: 'metrics' }] },
      ],
    }),
  ],
};

const linesOf = (text: string) => explain(world, flowOf(text)).lines;

test('a default deny names its policies and the rules that nearly allowed', () => {
  assert.deepEqual(linesOf('shop/web > pay/api TCP 80'), [
    'deny: shop/web (10.1.0.2) → pay/api (10.1.0.1) TCP 80',
    '  egress from shop/web (10.1.0.2): allowed, no policy selects it for egress',
    '  ingress to pay/api (10.1.0.1): denied by default: NetworkPolicy pay/api, NetworkPolicy pay/default-deny select it for ingress, and no rule allows this',
    '    near: NetworkPolicy pay/api spec.ingress[0] matches but for the port: it has TCP 443, TCP 8000-8100',
    '    near: NetworkPolicy pay/api spec.ingress[1] matches but for the peer: it has pods app=jobs in pay, or 10.9.0.0/16',
  ]);
});

test('an allowed flow names its rule and has no near misses', () => {
  const { lines, nearMisses } = explain(world, flowOf('shop/web > pay/api TCP 8050'));
  assert.equal(
    lines.at(-1),
    '  ingress to pay/api (10.1.0.1): allowed by NetworkPolicy pay/api spec.ingress[0]',
  );
  assert.deepEqual(nearMisses, { egress: [], ingress: [] });
});

test('own node, self and the outside have words of their own', () => {
  assert.match(linesOf('10.0.0.1 > pay/api TCP 80')[2]!, /its own node/);
  assert.match(linesOf('pay/api > pay/api TCP 80')[2]!, /reaches itself/);
  assert.match(linesOf('pay/api > 8.8.8.8 ICMP')[2]!, /no pod of this cluster/);
});

test('an unknown pod, a flow of two families and a missing port are refused by name', () => {
  const code = (text: string) => {
    try {
      explain(world, flowOf(text));
      return 'none';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  assert.equal(code('shop/none > pay/api TCP 80'), 'UnknownPod');
  assert.equal(code('10.0.0.1 > fd00::1 TCP 80'), 'BadFlow');
  assert.equal(code('shop/web > pay/api TCP'), 'BadFlow');
});

const admin = (name: string, priority: number, ingress: unknown[]) =>
  ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name },
    spec: { priority, subject: { namespaces: {} }, ingress },
  }) as PolicyObject;
const everybody = [{ namespaces: {} }];
const web = [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'web' } } } }];
const port = (number: number) => [{ portNumber: { port: number } }];
const ingressLines = (policies: PolicyObject[], flow: string) =>
  explain({ ...world, policies: [...world.policies, ...policies] }, flowOf(flow)).lines.slice(2);

test('a denying rule is named with what its author calls it, and with what nearly came before it', () => {
  const policies = [
    admin('guard', 10, [
      { action: 'Pass', from: web, ports: port(443) },
      { action: 'Allow', from: [{ namespaces: { matchLabels: { team: 'x' } } }] },
      { action: 'Deny', from: web, ports: port(81) },
      { name: 'no-web', action: 'Deny', from: web },
      { action: 'Allow', from: everybody, ports: port(443) },
    ]),
  ];
  assert.deepEqual(ingressLines(policies, 'shop/web > pay/api TCP 80'), [
    '  ingress to pay/api (10.1.0.1): denied by AdminNetworkPolicy guard spec.ingress[3] (no-web)',
    '    near: AdminNetworkPolicy guard spec.ingress[0] would pass it on but for the port: it has TCP 443',
    '    near: AdminNetworkPolicy guard spec.ingress[1] matches but for the peer: it has every pod in namespaces team=x',
  ]);
});

test('what an AdminNetworkPolicy nearly allowed is near a default deny, what a baseline would allow is not', () => {
  const baseline = {
    ...admin('default', 0, [{ action: 'Allow', from: everybody, ports: port(81) }]),
    kind: 'BaselineAdminNetworkPolicy',
  } as PolicyObject;
  const lines = ingressLines(
    [admin('a', 1, [{ action: 'Allow', from: web, ports: port(9) }]), baseline],
    'shop/web > pay/api TCP 80',
  );
  assert.match(lines[1]!, /^ {4}near: AdminNetworkPolicy a spec\.ingress\[0\] matches but for the port/);
  assert.ok(!lines.join('\n').includes('Baseline'));
});

test('where policies select a pod and none decides, that is said', () => {
  const { lines } = explain(
    { ...world, policies: [admin('a', 1, [{ action: 'Deny', from: web }])] },
    flowOf('8.8.8.8 > pay/api TCP 80'),
  );
  assert.equal(
    lines[2],
    '  ingress to pay/api (10.1.0.1): allowed, no rule decides this and no policy isolates it for ingress',
  );
});

test('what would be otherwise under audit is a line of its own', () => {
  const audited = staged(admin('trial', 1, [{ action: 'Deny', from: everybody }]), 'audit');
  const isolated = staged(policyObject('shop', 'closed', { podSelector: {} }), 'audit');
  const spared = staged(admin('spare', 0, [{ action: 'Allow', from: web, ports: port(80) }]), 'audit');
  assert.equal(
    ingressLines([audited], 'shop/web > pay/api TCP 8050').at(-1),
    '    audit: would be denied by AdminNetworkPolicy trial spec.ingress[0]',
  );
  assert.equal(
    ingressLines([isolated], 'pay/api > shop/web TCP 80').at(-1),
    '    audit: would be denied by default',
  );
  assert.equal(
    ingressLines([spared], 'shop/web > pay/api TCP 80').at(-1),
    '    audit: would be allowed by AdminNetworkPolicy spare spec.ingress[0]',
  );
});
