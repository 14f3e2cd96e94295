import assert from 'node:assert/strict';
import test from 'node:test';
import { adminNetworkPolicy, baselineAdminNetworkPolicy } from './admin-network-policy.ts';
import { clusterNetworkPolicy } from './cluster-network-policy.ts';
import type { AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy } from './types.ts';

const texts = (errors: { field: string; message: string }[]) => errors.map((e) => `${e.field}: ${e.message}`);

const admin = (spec: unknown) =>
  adminNetworkPolicy.applyDefaults({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'p' },
    spec,
  } as AdminNetworkPolicy);
const baseline = (spec: unknown, name = 'default') =>
  baselineAdminNetworkPolicy.applyDefaults({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name },
    spec,
  } as BaselineAdminNetworkPolicy);
const cluster = (spec: unknown) =>
  clusterNetworkPolicy.applyDefaults({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'p' },
    spec,
  } as ClusterNetworkPolicy);

const subject = { namespaces: {} };
const everybody = [{ namespaces: {} }];
const ofAdmin = (rest: object) =>
  texts(adminNetworkPolicy.validate(admin({ priority: 1, subject, ...rest })));
const ofCluster = (rest: object) =>
  texts(clusterNetworkPolicy.validate(cluster({ tier: 'Admin', priority: 1, subject, ...rest })));

const ingress = (rule: object) => ({ ingress: [{ action: 'Deny', from: everybody, ...rule }] });
const egress = (rule: object) => ({ egress: [{ action: 'Deny', to: everybody, ...rule }] });
const pods = { namespaceSelector: {}, podSelector: { matchLabels: { a: 'b' } } };

/** Of both versions: spec, and the error, if any. */
const shared: [what: string, spec: object, error?: string][] = [
  ['no rule', {}],
  [
    'every kind of peer',
    egress({ to: [...everybody, { pods }, { nodes: {} }, { networks: ['10.0.0.0/8', 'fd00::/8'] }] }),
  ],
  ['a name of 100 characters', ingress({ name: 'x'.repeat(100) })],
  [
    'a name of 101',
    ingress({ name: 'x'.repeat(101) }),
    'spec.ingress[0].name: Invalid value: … should be at most 100 chars long',
  ],
  ['no action', ingress({ action: undefined }), 'spec.ingress[0].action: Required value'],
  [
    'an unknown action',
    ingress({ action: 'Drop' }),
    'spec.ingress[0].action: Unsupported value: "Drop": supported values: …',
  ],
  ['priority 0', { priority: 0 }],
  ['priority 1000', { priority: 1000 }],
  ['no priority', { priority: undefined }, 'spec.priority: Required value'],
  [
    'priority 1001',
    { priority: 1001 },
    'spec.priority: Invalid value: 1001: spec.priority in body should be less than or equal to 1000',
  ],
  ['priority -1', { priority: -1 }, 'spec.priority: Invalid value: -1: … greater than or equal to 0'],
  ['no subject', { subject: undefined }, 'spec.subject: Required value'],
  ['an empty subject', { subject: {} }, 'spec.subject: Invalid value: 0: … at least 1 properties…'],
  ['two subjects', { subject: { ...subject, pods } }, 'spec.subject: Too many: 2: must have at most 1 items'],
  [
    'pods without a podSelector',
    { subject: { pods: { namespaceSelector: {} } } },
    'spec.subject.pods.podSelector: Required value',
  ],
  [
    'a selector that is none',
    { subject: { namespaces: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } } },
    'spec.subject.namespaces.matchExpressions[0].operator: …',
  ],
  ['no from', ingress({ from: undefined }), 'spec.ingress[0].from: Required value'],
  ['no peer', ingress({ from: [] }), 'spec.ingress[0].from: Invalid value: 0: … at least 1 items'],
  [
    'a peer without a field',
    ingress({ from: [{}] }),
    'spec.ingress[0].from[0]: Invalid value: 0: … at least 1 properties…',
  ],
  [
    'a peer with two',
    ingress({ from: [{ namespaces: {}, pods }] }),
    'spec.ingress[0].from[0]: Too many: 2: …',
  ],
  ['nodes as a source', ingress({ from: [{ nodes: {} }] }), 'spec.ingress[0].from[0]: Invalid value: 0: …'],
  [
    '26 ranges',
    egress({ to: [{ networks: Array.from({ length: 26 }, (_, i) => `10.${i}.0.0/16`) }] }),
    'spec.egress[0].to[0].networks: Too many: 26: must have at most 25 items',
  ],
  [
    'no range',
    egress({ to: [{ networks: [] }] }),
    'spec.egress[0].to[0].networks: Invalid value: 0: … at least 1 items',
  ],
  [
    'a range twice',
    egress({ to: [{ networks: ['10.0.0.0/8', '10.0.0.0/8'] }] }),
    'spec.egress[0].to[0].networks[1]: Duplicate value: "10.0.0.0/8"',
  ],
  [
    'an address that is no range',
    egress({ to: [{ networks: ['10.0.0.1'] }] }),
    'spec.egress[0].to[0].networks[0]: Invalid value: "10.0.0.1": Invalid CIDR format provided',
  ],
  [
    'domain names',
    egress({ to: [{ domainNames: ['example.org'] }] }),
    'spec.egress[0].to[0].domainNames: Forbidden: policy by domain name is not enforced yet',
  ],
];

/** `…` in an error stands for any text. */
function agrees(errors: readonly string[], wanted: string | undefined, what: string): void {
  assert.equal(errors.length, wanted === undefined ? 0 : 1, `${what}: ${errors.join('; ')}`);
  if (wanted === undefined) return;
  const parts = wanted.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  assert.match(errors[0] ?? '', new RegExp(`^${parts.join('.*')}$`), what);
}

test('both versions: what their schemas allow and refuse', () => {
  for (const [what, spec, error] of shared) {
    agrees(ofAdmin(spec), error, what);
    agrees(ofCluster(spec), error, what);
  }
});

const rules = (count: number, action = 'Deny') =>
  Array.from({ length: count }, () => ({ action, from: everybody }));

test('numbers of rules and peers', () => {
  agrees(ofAdmin({ ingress: rules(100) }), undefined, '100 rules');
  agrees(ofAdmin({ ingress: rules(101) }), 'spec.ingress: Too many: 101: must have at most 100 items', '101');
  agrees(ofCluster({ ingress: rules(25) }), undefined, '25 rules');
  agrees(ofCluster({ ingress: rules(26) }), 'spec.ingress: Too many: 26: must have at most 25 items', '26');
  const from = (count: number) =>
    ingress({ from: Array.from({ length: count }, () => ({ namespaces: {} })) });
  agrees(ofAdmin(from(101)), 'spec.ingress[0].from: Too many: 101: …', '101 peers');
  agrees(ofCluster(from(26)), 'spec.ingress[0].from: Too many: 26: …', '26 peers');
});

test('ports of v1alpha1', () => {
  const port = (one: object) => ofAdmin(ingress({ ports: [one] }));
  const at = 'spec.ingress[0].ports[0]';
  agrees(port({ portNumber: { port: 80 } }), undefined, 'a number');
  agrees(port({ portNumber: { port: 80, protocol: 'SCTP' } }), undefined, 'SCTP');
  agrees(port({ portRange: { start: 1, end: 65535, protocol: 'UDP' } }), undefined, 'a range');
  agrees(port({ namedPort: 'http' }), undefined, 'a name');
  agrees(port({}), `${at}: Invalid value: 0: …`, 'nothing');
  agrees(port({ namedPort: 'http', portNumber: { port: 80 } }), `${at}: Too many: 2: …`, 'two');
  agrees(port({ portNumber: {} }), `${at}.portNumber.port: Required value`, 'no number');
  agrees(port({ portNumber: { port: 0 } }), `${at}.portNumber.port: Invalid value: 0: …`, '0');
  agrees(port({ portNumber: { port: 65536 } }), `${at}.portNumber.port: Invalid value: 65536: …`, '65536');
  agrees(
    port({ portNumber: { port: 1, protocol: 'ICMP' } }),
    `${at}.portNumber.protocol: Unsupported value…`,
    'ICMP',
  );
  agrees(
    port({ portRange: { start: 80, end: 80 } }),
    `${at}.portRange: Invalid value: "object": Start port must be less than End port`,
    'one',
  );
  agrees(
    ofAdmin(ingress({ ports: [] })),
    'spec.ingress[0].ports: Invalid value: 0: … at least 1 items',
    'none',
  );
});

test('protocols of v1alpha2', () => {
  const port = (one: object) => ofCluster(ingress({ protocols: [one] }));
  const at = 'spec.ingress[0].protocols[0]';
  agrees(port({ tcp: { destinationPort: { number: 80 } } }), undefined, 'a number');
  agrees(port({ udp: { destinationPort: { range: { start: 1, end: 2 } } } }), undefined, 'a range');
  agrees(port({ destinationNamedPort: 'http' }), undefined, 'a name');
  agrees(port({}), `${at}: Invalid value: 0: …`, 'nothing');
  agrees(port({ tcp: {} }), `${at}.tcp: Invalid value: 0: …`, 'no port');
  agrees(
    port({ sctp: { destinationPort: {} } }),
    `${at}.sctp.destinationPort: Invalid value: 0: …`,
    'an empty port',
  );
  agrees(
    port({ tcp: { destinationPort: { number: 1, range: { start: 1, end: 2 } } } }),
    `${at}.tcp.destinationPort: Too many: 2: …`,
    'both',
  );
  agrees(
    port({ tcp: { destinationPort: { number: 65536 } } }),
    `${at}.tcp.destinationPort.number: Invalid…`,
    '65536',
  );
  agrees(
    port({ tcp: { destinationPort: { range: { start: 2, end: 1 } } } }),
    `${at}.tcp.destinationPort.range: … Start port must be less than End port`,
    'backwards',
  );
});

test('no port has a name at nodes and ranges', () => {
  const words =
    'spec.egress[0]: Invalid value: "object": networks/nodes/domainNames peer cannot be set with namedPorts …';
  for (const to of [{ nodes: {} }, { networks: ['10.0.0.0/8'] }]) {
    agrees(ofAdmin(egress({ to: [to], ports: [{ namedPort: 'http' }] })), words, 'v1alpha1');
    agrees(ofCluster(egress({ to: [to], protocols: [{ destinationNamedPort: 'http' }] })), words, 'v1alpha2');
  }
});

test('ranges: v1alpha1 takes host bits, v1alpha2 does not', () => {
  const rule = egress({ to: [{ networks: ['10.1.2.3/8'] }] });
  agrees(ofAdmin(rule), undefined, 'v1alpha1');
  agrees(
    ofCluster(rule),
    'spec.egress[0].to[0].networks[0]: Invalid value: "10.1.2.3/8": Invalid CIDR format provided',
    'v1alpha2',
  );
  agrees(
    ofAdmin(egress({ to: [{ networks: ['::ffff:10.0.0.0/104'] }] })),
    'spec.egress[0].to[0].networks[0]: … CIDR must be either an IPv4 or IPv6 address…',
    'both',
  );
});

test('the baseline of v1alpha1 is one object without Pass; v1alpha2 has tiers', () => {
  const errors = (name: string, action: string) =>
    texts(baselineAdminNetworkPolicy.validate(baseline({ subject, ingress: rules(1, action) }, name)));
  agrees(errors('default', 'Allow'), undefined, 'default');
  agrees(
    errors('other', 'Deny'),
    'metadata.name: … Only one baseline admin network policy with metadata.name="default" can be created in the cluster',
    'a name',
  );
  agrees(
    errors('default', 'Pass'),
    'spec.ingress[0].action: Unsupported value: "Pass": supported values: "Allow", "Deny"',
    'pass',
  );
  agrees(ofCluster({ tier: 'Baseline', ingress: rules(1, 'Pass') }), undefined, 'a tier');
  agrees(
    ofCluster({ tier: 'Other' }),
    'spec.tier: Unsupported value: "Other": supported values: "Admin", "Baseline"',
    'another',
  );
  agrees(ofCluster({ tier: undefined }), 'spec.tier: Required value', 'none');
  agrees(
    ofCluster({ ingress: rules(1, 'Allow') }),
    'spec.ingress[0].action: Unsupported value: "Allow": supported values: "Accept", "Deny", "Pass"',
    'Allow',
  );
});

test('the protocol of a port of v1alpha1 defaults to TCP', () => {
  const { spec } = admin({
    priority: 1,
    subject,
    ...ingress({ ports: [{ portNumber: { port: 80 } }, { portRange: { start: 1, end: 2 } }] }),
  });
  assert.deepEqual(spec.ingress?.[0]?.ports, [
    { portNumber: { port: 80, protocol: 'TCP' } },
    { portRange: { start: 1, end: 2, protocol: 'TCP' } },
  ]);
});

test('their columns are those of their definitions', () => {
  const cells = (object: ClusterNetworkPolicy) =>
    clusterNetworkPolicy.columns.map(({ name, value }) => [name, value(object, 0)]);
  assert.deepEqual(cells(cluster({ tier: 'Admin', priority: 7, subject })).slice(0, 3), [
    ['Name', 'p'],
    ['Tier', 'Admin'],
    ['Priority', '7'],
  ]);
});

test('pods without a namespaceSelector are those of all namespaces in v1alpha2, and refused in v1alpha1', () => {
  const anywhere = { subject: { pods: { podSelector: {} } } };
  agrees(ofCluster(anywhere), undefined, 'v1alpha2');
  agrees(ofAdmin(anywhere), 'spec.subject.pods.namespaceSelector: Required value', 'v1alpha1');
});
