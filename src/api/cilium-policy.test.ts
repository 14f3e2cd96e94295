import assert from 'node:assert/strict';
import test from 'node:test';
import { ciliumClusterwideNetworkPolicy, ciliumNetworkPolicy } from './cilium-policy.ts';
import type { CiliumClusterwideNetworkPolicy } from './cilium-policy-types.ts';
import { fieldErrorText } from './field-error.ts';

const policy = (body: object) =>
  ciliumNetworkPolicy.applyDefaults({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    ...body,
  });

const problemsOf = (spec: object): string[] =>
  ciliumNetworkPolicy.validate(policy({ spec: { endpointSelector: {}, ...spec } })).map(fieldErrorText);

const tcp = (port: string) => ({ ports: [{ port, protocol: 'TCP' }] });
const ingress = (rule: object) => ({ ingress: [rule] });
const egress = (rule: object) => ({ egress: [rule] });
const http = (rule: object) => ingress({ toPorts: [{ ...tcp('80'), rules: { http: [rule] } }] });

/** A part of a spec, and the one error, if any: field, and words that are in it. */
const cases: [what: string, spec: object, error?: string][] = [
  ['an empty rule', ingress({})],
  ['a rule that denies', { ingressDeny: [{ fromEntities: ['world'] }] }],
  ['no rule at all', {}, 'spec: Required value: needs a rule'],
  ['only empty lists of rules', { ingress: [], egress: [] }, 'spec: Required value: needs a rule'],
  [
    'both selectors',
    { ...ingress({}), nodeSelector: {} },
    'spec.nodeSelector: Forbidden: policies for nodes|spec: Invalid value: "object": only one',
  ],
  [
    'selectors with sources of labels',
    {
      endpointSelector: { matchLabels: { 'k8s:app': 'a', 'any:b': 'c', d: '' } },
      ...ingress({ fromEndpoints: [{ matchExpressions: [{ key: 'reserved:host', operator: 'Exists' }] }] }),
    },
  ],
  [
    'a source that is not known',
    ingress({ fromEndpoints: [{ matchLabels: { 'container:a': 'b' } }] }),
    'spec.ingress[0].fromEndpoints[0].matchLabels: Invalid value: "container:a": labels of the source container',
  ],
  [
    'a reserved label that is not known',
    ingress({ fromEndpoints: [{ matchLabels: { 'reserved:x': '' } }] }),
    'spec.ingress[0].fromEndpoints[0].matchLabels: Invalid value: "reserved:x": expected reserved: with one of world',
  ],
  [
    'an operator that is none',
    ingress({ fromEndpoints: [{ matchExpressions: [{ key: 'a', operator: 'Gt' }] }] }),
    'spec.ingress[0].fromEndpoints[0].matchExpressions[0].operator: Invalid value',
  ],
  ['entities', egress({ toEntities: ['world', 'cluster', 'remote-node', 'health'] })],
  ['an entity that is none', egress({ toEntities: ['moon'] }), 'spec.egress[0].toEntities[0]: Unsupported'],
  ['the API server', egress({ toEntities: ['kube-apiserver'] })],
  ['an address and ranges', egress({ toCIDR: ['192.0.2.1', '192.0.2.0/24', '2001:db8::/32'] })],
  ['what is no range', egress({ toCIDR: ['192.0.2'] }), 'spec.egress[0].toCIDR[0]: Invalid value'],
  ['a range and a part of it', egress({ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.0.0.0/9'] }] })],
  [
    'an exception outside of it',
    egress({ toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['11.0.0.0/9'] }] }),
    'spec.egress[0].toCIDRSet[0].except[0]: Invalid value: "11.0.0.0/9": must be within 10.0.0.0/8',
  ],
  ['a group of ranges', egress({ toCIDRSet: [{ cidrGroupRef: 'x', except: ['10.0.0.0/8'] }] })],
  [
    'a group of no name',
    egress({ toCIDRSet: [{ cidrGroupRef: 'X!' }] }),
    'spec.egress[0].toCIDRSet[0].cidrGroupRef: Invalid value: "X!"',
  ],
  [
    'a range and a group',
    egress({ toCIDRSet: [{ cidr: '10.0.0.0/8', cidrGroupRef: 'x' }] }),
    'spec.egress[0].toCIDRSet[0]: Invalid value: "object": needs one of cidr and cidrGroupRef, not several',
  ],
  [
    'no range',
    egress({ toCIDRSet: [{}] }),
    'spec.egress[0].toCIDRSet[0].cidr: Required value: or cidrGroupRef, or cidrGroupSelector',
  ],
  [
    'a selector of groups that is none',
    egress({ toCIDRSet: [{ cidrGroupSelector: { matchExpressions: [{ key: 'a', operator: 'Gt' }] } }] }),
    'spec.egress[0].toCIDRSet[0].cidrGroupSelector.matchExpressions[0].operator: Invalid value: "Gt"',
  ],
  ['groups of ranges by labels', egress({ toCIDRSet: [{ cidrGroupSelector: {} }] })],
  [
    'two kinds of peers',
    egress({ toEntities: ['world'], toCIDR: ['10.0.0.0/8'] }),
    'spec.egress[0]: Invalid value: "object": combining toEntities and toCIDR',
  ],
  ['nodes', ingress({ fromNodes: [{ matchLabels: { zone: 'east' } }] })],
  [
    'groups',
    ingress({ fromGroups: [{ aws: {} }] }),
    'spec.ingress[0].fromGroups: Forbidden: there are no groups',
  ],
  ['requirements', ingress({ fromRequires: [{}] }), 'spec.ingress[0].fromRequires: Forbidden: deprecated'],
  [
    'Services by name and by labels',
    egress({
      toServices: [
        { k8sService: { serviceName: 'a' } },
        { k8sServiceSelector: { selector: {}, namespace: 'b' } },
      ],
    }),
  ],
  [
    'a Service without a name',
    egress({ toServices: [{ k8sService: { namespace: 'a' } }] }),
    'spec.egress[0].toServices[0].k8sService.serviceName: Required value',
  ],
  [
    'no Service',
    egress({ toServices: [{}] }),
    'spec.egress[0].toServices[0]: Invalid value: "object": needs one of k8sService',
  ],
  ['names', egress({ toFQDNs: [{ matchName: 'a.example' }, { matchPattern: '**.b.example.' }] })],
  [
    'neither name nor pattern',
    egress({ toFQDNs: [{}] }),
    'spec.egress[0].toFQDNs[0]: Invalid value: "object": needs one of matchName and matchPattern',
  ],
  ['what is no name', egress({ toFQDNs: [{ matchName: 'a..b' }] }), 'spec.egress[0].toFQDNs[0].matchName'],
  [
    'a port and a range',
    ingress({ toPorts: [{ ports: [{ port: '80' }, { port: '1024', endPort: 2000 }] }] }),
  ],
  ['the name of a port', ingress({ toPorts: [tcp('http-8080')] })],
  ['protocols without ports', ingress({ toPorts: [{ ports: [{ protocol: 'VRRP' }] }] })],
  [
    'a port of a protocol without ports',
    ingress({ toPorts: [{ ports: [{ protocol: 'IGMP', port: '1' }] }] }),
    'spec.ingress[0].toPorts[0].ports[0].port: Invalid value: "1": must be absent or 0',
  ],
  [
    'port 65536',
    ingress({ toPorts: [tcp('65536')] }),
    'spec.ingress[0].toPorts[0].ports[0].port: Invalid value',
  ],
  [
    'a range backwards',
    ingress({ toPorts: [{ ports: [{ port: '80', endPort: 79 }] }] }),
    'spec.ingress[0].toPorts[0].ports[0].endPort: Invalid value: 79: must be from 80 to 65535',
  ],
  [
    'a range from a name',
    ingress({ toPorts: [{ ports: [{ port: 'http', endPort: 79 }] }] }),
    'spec.ingress[0].toPorts[0].ports[0].endPort: Invalid value: 79: needs the number',
  ],
  [
    'another protocol',
    ingress({ toPorts: [{ ports: [{ port: '1', protocol: 'ICMP' }] }] }),
    'spec.ingress[0].toPorts[0].ports[0].protocol: Unsupported value: "ICMP"',
  ],
  [
    '41 ports',
    ingress({ toPorts: [{ ports: Array.from({ length: 41 }, (_, i) => ({ port: String(i + 1) })) }] }),
    'spec.ingress[0].toPorts[0].ports: Too many: 41',
  ],
  ...['terminatingTLS', 'originatingTLS', 'listener'].map((field): [string, object, string] => [
    field,
    ingress({ toPorts: [{ ...tcp('443'), [field]: {} }] }),
    `spec.ingress[0].toPorts[0].${field}: Forbidden`,
  ]),
  [
    'names in TLS handshakes',
    ingress({ toPorts: [{ ...tcp('443'), serverNames: ['a.example'] }] }),
    'spec.ingress[0].toPorts[0].serverNames: Forbidden',
  ],
  [
    'an HTTP request',
    http({ method: 'GET', path: '/a', headers: ['X-A: b'], headerMatches: [{ name: 'X', value: 'y' }] }),
  ],
  [
    'a header that would be changed',
    http({ headerMatches: [{ name: 'X', mismatch: 'ADD' }] }),
    'spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].mismatch: Forbidden',
  ],
  [
    'a header out of a Secret',
    http({ headerMatches: [{ name: 'X', secret: { name: 's' } }] }),
    'spec.ingress[0].toPorts[0].rules.http[0].headerMatches[0].secret: Forbidden',
  ],
  [
    'HTTP over UDP',
    ingress({ toPorts: [{ ports: [{ port: '80', protocol: 'UDP' }], rules: { http: [] } }] }),
    'spec.ingress[0].toPorts[0].rules: Invalid value: "object": these requests come over TCP, not UDP',
  ],
  [
    'requests to every port',
    ingress({ toPorts: [{ ...tcp('0'), rules: { http: [] } }] }),
    'spec.ingress[0].toPorts[0].rules: Invalid value: "object": needs the ports',
  ],
  [
    'two kinds of requests',
    ingress({ toPorts: [{ ...tcp('80'), rules: { http: [], kafka: [] } }] }),
    'spec.ingress[0].toPorts[0].rules: Invalid value: "object": only one of http, kafka, dns',
  ],
  [
    'a protocol of one’s own',
    ingress({ toPorts: [{ ...tcp('80'), rules: { l7proto: 'r2d2' } }] }),
    'spec.ingress[0].toPorts[0].rules.l7proto: Forbidden',
  ],
  ['DNS', egress({ toPorts: [{ ports: [{ port: '53' }], rules: { dns: [{ matchPattern: '*' }] } }] })],
  [
    'DNS for ingress',
    ingress({ toPorts: [{ ports: [{ port: '53' }], rules: { dns: [{ matchPattern: '*' }] } }] }),
    'spec.ingress[0].toPorts[0].rules.dns: Forbidden',
  ],
  ['Kafka', ingress({ toPorts: [{ ...tcp('9092'), rules: { kafka: [{ role: 'produce', topic: 'a' }] } }] })],
  [
    'a Kafka request that is none',
    ingress({ toPorts: [{ ...tcp('9092'), rules: { kafka: [{ apiKey: 'x' }] } }] }),
    'spec.ingress[0].toPorts[0].rules.kafka[0].apiKey: Unsupported value: "x"',
  ],
  [
    'ICMP by number and name',
    ingress({ icmps: [{ fields: [{ type: 8 }, { family: 'IPv6', type: 'EchoRequest' }] }] }),
  ],
  [
    'a message of the other family',
    ingress({ icmps: [{ fields: [{ type: 'PacketTooBig' }] }] }),
    'spec.ingress[0].icmps[0].fields[0].type: Invalid value: "PacketTooBig": must be 0 to 255',
  ],
  [
    'ICMP beside ports',
    ingress({ icmps: [{ fields: [{ type: 8 }] }], toPorts: [tcp('80')] }),
    'spec.ingress[0].icmps: Forbidden: may not be used with toPorts',
  ],
  ['authentication', ingress({ fromEndpoints: [{}], authentication: { mode: 'required' } })],
  [
    'a mode that is none',
    ingress({ authentication: { mode: 'maybe' } }),
    'spec.ingress[0].authentication.mode: Unsupported value: "maybe"',
  ],
  ['words for logs', { ...ingress({}), log: { value: 'guard' } }],
  ['too many of them', { ...ingress({}), log: { value: 'x'.repeat(33) } }, 'spec.log.value: Invalid value'],
];

for (const [what, spec, error] of cases)
  test(`${what} ${error === undefined ? 'is right' : 'is refused by name'}`, () => {
    const problems = problemsOf(spec);
    const wanted = error?.split('|') ?? [];
    assert.equal(problems.length, wanted.length, problems.join('\n'));
    for (const [i, start] of wanted.entries()) assert.ok(problems[i]?.startsWith(start), problems.join('\n'));
  });

test('specs are checked each, and one of spec and specs must be there', () => {
  const rule = { endpointSelector: {}, ingress: [{ fromEntities: ['moon'] }] };
  assert.deepEqual(
    ciliumNetworkPolicy.validate(policy({ specs: [rule, rule] })).map(({ field }) => field),
    ['specs[0].ingress[0].fromEntities[0]', 'specs[1].ingress[0].fromEntities[0]'],
  );
  assert.deepEqual(ciliumNetworkPolicy.validate(policy({})).map(fieldErrorText), [
    'spec: Required value: or specs',
  ]);
});

test('an ICMP message is of IPv4 unless it says otherwise', () => {
  const { spec } = policy({
    spec: { endpointSelector: {}, egressDeny: [{ icmps: [{ fields: [{ type: 8 }] }] }] },
  });
  assert.equal(spec?.egressDeny?.[0]?.icmps?.[0]?.fields?.[0]?.family, 'IPv4');
});

test('the table says whether somebody has called the policy valid', () => {
  const object = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumClusterwideNetworkPolicy',
    metadata: { name: 'p' },
    status: { conditions: [{ type: 'Valid', status: 'True' }] },
  } as unknown as CiliumClusterwideNetworkPolicy;
  const { columns } = ciliumClusterwideNetworkPolicy;
  assert.deepEqual(
    columns.map(({ name, value }) => [name, value(object, 0)]),
    [
      ['Name', 'p'],
      ['Age', '<unknown>'],
      ['Valid', 'True'],
    ],
  );
});
