import assert from 'node:assert/strict';
import test from 'node:test';
import { calicoNetworkPolicy, globalNetworkPolicy } from './calico-policy.ts';
import { globalNetworkSet, networkSet, tier } from './calico-sets.ts';
import type {
  CalicoGlobalNetworkPolicy,
  CalicoGlobalNetworkSet,
  CalicoNetworkPolicy,
  CalicoNetworkSet,
  CalicoTier,
} from './calico-types.ts';

const texts = (errors: { field: string; message: string }[]) => errors.map((e) => `${e.field}: ${e.message}`);
const object = (kind: string, spec: unknown, metadata: object = {}): unknown => ({
  apiVersion: 'projectcalico.org/v3',
  kind,
  metadata: { name: 'p', ...metadata },
  spec,
});
const local = (spec: unknown) =>
  calicoNetworkPolicy.applyDefaults(object('NetworkPolicy', spec, { namespace: 'a' }) as CalicoNetworkPolicy);
const global = (spec: unknown) =>
  globalNetworkPolicy.applyDefaults(object('GlobalNetworkPolicy', spec) as CalicoGlobalNetworkPolicy);
const ofLocal = (spec: unknown) => texts(calicoNetworkPolicy.validate(local(spec)));
const ofGlobal = (spec: unknown) => texts(globalNetworkPolicy.validate(global(spec)));

/** `…` in an error stands for any text. */
function agrees(errors: readonly string[], wanted: string | undefined, what: string): void {
  assert.equal(errors.length, wanted === undefined ? 0 : 1, `${what}: ${errors.join('; ')}`);
  if (wanted === undefined) return;
  const parts = wanted.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  assert.match(errors[0] ?? '', new RegExp(`^${parts.join('.*')}$`), what);
}

const rule = (more: object) => ({ ingress: [{ action: 'Allow', ...more }] });
const source = (more: object) => rule({ source: more });
const at = 'spec.ingress[0]';

const cases: [what: string, spec: object, error?: string][] = [
  ['nothing', {}],
  ['an order that is no integer', { order: -0.5 }],
  ['a selector', { selector: "a == 'b' && !has(c)" }],
  [
    'a selector that is none',
    { selector: 'a = 1' },
    'spec.selector: Invalid value: "a = 1": column 3: expected ==',
  ],
  ['global() outside a rule', { selector: 'global()' }, 'spec.selector: …: global() may only be …'],
  [
    'a selector of service accounts',
    { serviceAccountSelector: 'x' },
    'spec.serviceAccountSelector: …: column 2: …',
  ],
  ['a tier', { tier: 'security' }],
  ['a tier that can have no such name', { tier: 'a.b' }, 'spec.tier: …'],
  ['a type', { types: ['Egress'] }],
  ['an unknown type', { types: ['Both'] }, 'spec.types[0]: Unsupported value: "Both": …'],
  ['a type twice', { types: ['Ingress', 'Ingress'] }, 'spec.types[1]: Duplicate value: "Ingress"'],
  ['a hint', { performanceHints: ['AssumeNeededOnEveryNode'] }],
  ['an unknown hint', { performanceHints: ['Fast'] }, 'spec.performanceHints[0]: Unsupported value: …'],
  ['every action', { ingress: ['Allow', 'Deny', 'Log', 'Pass'].map((action) => ({ action })) }],
  ['no action', { ingress: [{}] }, `${at}.action: Required value`],
  ['an unknown action', { ingress: [{ action: 'Drop' }] }, `${at}.action: Unsupported value: "Drop": …`],
  [
    '1025 rules',
    { ingress: Array.from({ length: 1025 }, () => ({ action: 'Allow' })) },
    'spec.ingress: Too many: …',
  ],
  ['an IP version', rule({ ipVersion: 6 })],
  ['another IP version', rule({ ipVersion: 5 }), `${at}.ipVersion: Unsupported value: 5: …`],
  ['protocols in any case, by number, and not', rule({ protocol: 'tcp', notProtocol: 132 })],
  [
    'an unknown protocol',
    rule({ protocol: 'GRE' }),
    `${at}.protocol: Invalid value: "GRE": must be one of …`,
  ],
  ['protocol 0', rule({ notProtocol: 0 }), `${at}.notProtocol: Invalid value: 0: …`],
  ['ICMP by type and code', rule({ protocol: 'ICMP', icmp: { type: 8, code: 0 }, notICMP: { type: 3 } })],
  ['ICMP of no protocol', rule({ icmp: { type: 8 } }), `${at}.icmp: …: needs protocol to be ICMP or ICMPv6`],
  [
    'a code without type',
    rule({ protocol: 'ICMPv6', icmp: { code: 1 } }),
    `${at}.icmp.type: Required value: code is one of a type`,
  ],
  ['a type of 255', rule({ protocol: 1, icmp: { type: 255 } }), `${at}.icmp.type: Invalid value: 255: …`],
  [
    'ICMP over IPv6',
    rule({ protocol: 'ICMP', ipVersion: 6 }),
    `${at}.ipVersion: …: must be 4 with protocol ICMP`,
  ],
  ['ranges', source({ nets: ['10.0.0.0/8'], notNets: ['10.1.0.0/16'] })],
  ['an address for a range', source({ nets: ['10.0.0.1'] }), `${at}.source.nets[0]: …: must be a CIDR …`],
  [
    'ranges of both families',
    source({ nets: ['10.0.0.0/8', 'fd00::/8'] }),
    `${at}.source.nets[1]: …: must be of IPv4, like the rest of the rule…`,
  ],
  [
    'a range of another family',
    { ...rule({ ipVersion: 6, source: { nets: ['10.0.0.0/8'] } }) },
    `${at}.source.nets[0]: …`,
  ],
  ['global()', source({ namespaceSelector: 'global()', selector: 'all()' })],
  [
    'global() and more',
    source({ namespaceSelector: 'global() || a == "b"' }),
    `${at}.source.namespaceSelector: …`,
  ],
  ['global() as selector', source({ selector: 'global()' }), `${at}.source.selector: …`],
  ['a selector not to match', source({ notSelector: '((' }), `${at}.source.notSelector: …`],
  ['service accounts', source({ serviceAccounts: { names: ['a'], selector: 'has(b)' } })],
  [
    'a service account without name',
    source({ serviceAccounts: { names: [''] } }),
    `${at}.source.serviceAccounts.names[0]: …`,
  ],
  ['ports', rule({ protocol: 'TCP', destination: { ports: [1, '65535', '80:90', 'http'], notPorts: [85] } })],
  [
    'ports of no protocol',
    rule({ destination: { ports: [1] } }),
    `${at}.destination.ports: …: needs protocol to be TCP, UDP or SCTP`,
  ],
  ['port 0', rule({ protocol: 'TCP', destination: { ports: [0] } }), `${at}.destination.ports[0]: …`],
  [
    'a range backwards',
    rule({ protocol: 6, destination: { ports: ['9:8'] } }),
    `${at}.destination.ports[0]: …`,
  ],
  ['source ports', rule({ protocol: 'TCP', source: { ports: ['1024:65535'] } })],
  ['named source ports', rule({ protocol: 'TCP', source: { ports: ['http'] } })],
  [
    'named ports not to match',
    rule({ protocol: 'TCP', destination: { notPorts: ['http'] } }),
    `${at}.destination.notPorts[0]: Forbidden: …`,
  ],
  ['services', source({ services: { name: 'a', namespace: 'b' } })],
  [
    'a Service without a name',
    source({ services: { namespace: 'b' } }),
    `${at}.source.services.name: Required value`,
  ],
  [
    'a Service and a selector',
    source({ services: { name: 'a', namespace: 'b' }, selector: 'all()' }),
    `${at}.source.services: Forbidden: …`,
  ],
  [
    'a Service and ports',
    rule({
      protocol: 'TCP',
      source: { services: { name: 'a', namespace: 'b' }, ports: [1] },
      destination: { ports: [1] },
    }),
  ],
  [
    'a Service at the end of the policy’s own pods',
    rule({ destination: { services: { name: 'a', namespace: 'b' } } }),
    `${at}.destination.services: Forbidden: not allowed in ingress rule destination`,
  ],
  [
    'requests',
    rule({ protocol: 'TCP', http: { methods: ['GET'], paths: [{ exact: '/a' }, { prefix: '/b' }] } }),
  ],
  [
    'a path of two kinds',
    rule({ http: { paths: [{ exact: '/a', prefix: '/b' }] } }),
    `${at}.http.paths[0]: …`,
  ],
  [
    'requests over UDP',
    rule({ protocol: 'UDP', http: {} }),
    `${at}.http: …: needs protocol to be TCP, or absent`,
  ],
  [
    'requests that are denied',
    { ingress: [{ action: 'Deny', http: {} }] },
    `${at}.http: Forbidden: only rules that allow …`,
  ],
  [
    'requests at egress',
    { egress: [{ action: 'Allow', http: {} }] },
    'spec.egress[0].http: Forbidden: not allowed in egress rules',
  ],
  ['annotations', rule({ metadata: { annotations: { from: 'frontend' } } })],
];

test('NetworkPolicy and GlobalNetworkPolicy: what is allowed and refused, with its path', () => {
  for (const [what, spec, error] of cases) {
    agrees(ofLocal(spec), error, what);
    agrees(ofGlobal(spec), error, what);
  }
});

test('a GlobalNetworkPolicy alone selects namespaces, and none is for hosts', () => {
  agrees(ofGlobal({ namespaceSelector: 'a == "b"', applyOnForward: true }), undefined, 'namespaces');
  agrees(ofGlobal({ namespaceSelector: 'global()' }), 'spec.namespaceSelector: …', 'global()');
  for (const field of ['doNotTrack', 'preDNAT'])
    agrees(ofGlobal({ [field]: true }), `spec.${field}: Forbidden: it is for host endpoints, …`, field);
});

test('a policy is of the tier default, in the directions that it has rules for', () => {
  const rules = [{ action: 'Allow' }];
  for (const [spec, types] of [
    [{}, ['Ingress']],
    [{ ingress: rules }, ['Ingress']],
    [{ egress: rules }, ['Egress']],
    [{ ingress: rules, egress: rules }, ['Ingress', 'Egress']],
    [{ egress: rules, types: ['Ingress'] }, ['Ingress']],
  ] as const)
    assert.deepEqual([local(spec).spec.tier, global(spec).spec.types], ['default', types]);
});

test('a tier has a place, and those that are always there have theirs', () => {
  const of = (name: string, spec: unknown) =>
    texts(tier.validate(tier.applyDefaults(object('Tier', spec, { name }) as CalicoTier)));
  agrees(of('security', { order: 100 }), undefined, 'an order');
  agrees(of('security', {}), undefined, 'none');
  agrees(of('a.b', {}), 'metadata.name: …', 'a dot');
  agrees(
    of('security', { defaultAction: 'Allow' }),
    'spec.defaultAction: Unsupported value: "Allow": …',
    'Allow',
  );
  agrees(of('default', { order: 1_000_000 }), undefined, 'default');
  agrees(
    of('default', { order: 1 }),
    'spec.order: Invalid value: 1: must be 1000000, …',
    'default elsewhere',
  );
  agrees(of('kube-admin', { order: 1_000 }), 'spec.defaultAction: …: must be Pass, …', 'Deny');
});

test('network sets hold addresses and ranges, and no label of a namespace', () => {
  const set = (nets: unknown, labels: object = {}) =>
    texts(
      networkSet.validate(object('NetworkSet', { nets }, { namespace: 'a', labels }) as CalicoNetworkSet),
    );
  agrees(set(['10.0.0.1', '10.0.0.0/8', 'fd00::1']), undefined, 'addresses and ranges');
  agrees(set(['example.org']), 'spec.nets[0]: Invalid value: "example.org": …', 'a name');
  agrees(set([], { 'projectcalico.org/namespace': 'b' }), 'metadata.labels: …', 'a namespace');
  const all = object('GlobalNetworkSet', { nets: ['x'] }) as CalicoGlobalNetworkSet;
  agrees(texts(globalNetworkSet.validate(all)), 'spec.nets[0]: …', 'of the cluster');
});

test('whoever writes what no data path can tell is warned', () => {
  const spec = {
    ingress: [
      { action: 'Allow', protocol: 'TCP', source: { ports: [1] }, http: { methods: ['GET'] } },
      { action: 'Allow', protocol: 'ICMP', icmp: { type: 8 } },
      { action: 'Allow', protocol: 'TCP', destination: { ports: [1] } },
    ],
  };
  const paths = calicoNetworkPolicy.warnings(local(spec)).map((text) => text.split(':')[0]);
  assert.deepEqual(paths, ['spec.ingress[0].http', 'spec.ingress[0].source', 'spec.ingress[1]']);
});
