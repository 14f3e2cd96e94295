import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Policy, Rule } from '../model.ts';
import { lowerPolicies, type PolicyObject } from '../objects.ts';
import { matchesRequest, type Request } from '../request.ts';
import { namePattern } from './cilium-names.ts';

const lowered = (body: object, kind = 'CiliumNetworkPolicy'): readonly Policy[] =>
  lowerPolicies({
    apiVersion: 'cilium.io/v2',
    kind,
    metadata: { name: 'p', namespace: 'shop' },
    ...body,
  } as unknown as PolicyObject);
const one = (spec: object): Policy => lowered({ spec: { endpointSelector: {}, ...spec } })[0]!;
const rulesOf = (spec: object): readonly Rule[] => one(spec).rules;
const tcp = (port: string) => ({ ports: [{ port, protocol: 'TCP' }] });

test('a rule keeps its object, direction, place, path and words; what is denied comes first', () => {
  const { rules } = one({
    log: { value: 'guard' },
    ingress: [{ fromEntities: ['world'] }, { fromEntities: ['cluster'] }],
    ingressDeny: [{ fromCIDR: ['192.0.2.1'] }],
    egress: [{ toEntities: ['all'] }],
  });
  const shown = rules.map(({ ref, verdict, priority }) => [
    ref.path,
    ref.index,
    ref.title,
    verdict,
    priority,
  ]);
  assert.deepEqual(shown, [
    ['spec.ingress[0]', 0, 'guard', 'allow', 1000],
    ['spec.ingress[1]', 1, 'guard', 'allow', 1000],
    ['spec.ingressDeny[0]', 2, 'guard', 'deny', Number.NEGATIVE_INFINITY],
    ['spec.egress[0]', 0, 'guard', 'allow', 1000],
  ]);
});

test('each of specs is a policy, and no two rules of the object have one place', () => {
  const spec = { endpointSelector: {}, ingress: [{ fromEntities: ['world'] }] };
  const policies = lowered(
    { spec, specs: [spec, { ...spec, egress: [{}] }] },
    'CiliumClusterwideNetworkPolicy',
  );
  assert.deepEqual(
    policies.map(({ ref, isolates }) => [ref, isolates]),
    [undefined, 'specs[0]', 'specs[1]'].map((part) => [
      {
        kind: 'CiliumClusterwideNetworkPolicy',
        namespace: '',
        name: 'p',
        ...(part === undefined ? {} : { part }),
      },
      { ingress: true, egress: part === 'specs[1]' },
    ]),
  );
  assert.deepEqual(
    policies.flatMap(({ rules }) => rules.map(({ ref }) => `${ref.direction} ${ref.index} ${ref.path}`)),
    [
      'ingress 0 spec.ingress[0]',
      'ingress 1 specs[0].ingress[0]',
      'ingress 2 specs[1].ingress[0]',
      'egress 0 specs[1].egress[0]',
    ],
  );
});

test('ports of which requests are asked are rules of their own', () => {
  const rules = rulesOf({
    ingress: [
      {
        toPorts: [tcp('80'), { ...tcp('8080'), rules: { http: [{ method: 'GET' }] } }, tcp('443')],
        authentication: { mode: 'required' },
      },
    ],
  });
  assert.deepEqual(
    rules.map(({ ref, ports, l7, auth }) => [
      ref.path,
      ports?.map((port) => ('first' in port ? port.first : port)),
      l7?.length,
      auth,
    ]),
    [
      ['spec.ingress[0]', [80, 443], undefined, 'required'],
      ['spec.ingress[0].toPorts[1]', [8080], 1, 'required'],
    ],
  );
});

test('an empty list of requests asks for none', () => {
  const [rule] = rulesOf({ ingress: [{ toPorts: [{ ...tcp('80'), rules: { http: [] } }] }] });
  assert.equal(rule?.l7, undefined);
});

const http = (path: string, headers = {}): Request => ({
  type: 'http',
  method: 'GET',
  path,
  host: 'a.example',
  headers,
});
const kafka = (apiKey: string, topic?: string): Request => ({ type: 'kafka', apiKey, topic, apiVersion: 3 });
const dns = (name: string): Request => ({ type: 'dns', name });

const requests: [what: string, rules: object, matching: Request[], others: Request[]][] = [
  ['an empty rule', { http: [{}] }, [http('/')], [dns('a')]],
  [
    'a path with its query',
    { http: [{ path: '/a\\?b=.*' }] },
    [http('/a?b=c')],
    [http('/a'), http('/x/a?b=c')],
  ],
  ['a pattern of the whole text', { http: [{ path: '/a' }] }, [http('/a')], [http('/ab'), http('/a?b')]],
  ['a host', { http: [{ host: '.*\\.example' }] }, [http('/')], []],
  ['a method that is another', { http: [{ method: 'PUT|POST' }] }, [], [http('/')]],
  [
    'headers with and without a value',
    {
      http: [{ headers: ['X-A: b c', 'X-D'], headerMatches: [{ name: 'X-E', value: 'f' }, { name: 'X-G' }] }],
    },
    [http('/', { 'x-a': 'b c', 'x-d': '', 'x-e': 'f', 'x-g': 'h' })],
    [
      http('/', { 'x-a': 'b', 'x-d': '', 'x-e': 'f', 'x-g': 'h' }),
      http('/', { 'x-a': 'b c', 'x-e': 'f', 'x-g': 'h' }),
    ],
  ],
  [
    'a name in any case, with its last dot',
    { dns: [{ matchName: 'A.example.' }] },
    [dns('a.EXAMPLE'), dns('a.example.')],
    [dns('b.a.example')],
  ],
  [
    'a role and a topic',
    { kafka: [{ role: 'produce', topic: 't' }] },
    [kafka('Produce', 't'), kafka('apiversions')],
    [kafka('produce', 'u'), kafka('fetch', 't'), kafka('heartbeat')],
  ],
  [
    'a topic alone',
    { kafka: [{ topic: 't' }] },
    [kafka('fetch', 't'), kafka('heartbeat')],
    [kafka('fetch', 'u')],
  ],
  ['a version', { kafka: [{ apiKey: 'fetch', apiVersion: '3' }] }, [kafka('fetch')], [kafka('produce')]],
];

for (const [what, rules, matching, others] of requests)
  test(`requests: ${what}`, () => {
    const port = 'dns' in rules ? '53' : '80';
    const [rule] = rulesOf({ egress: [{ toPorts: [{ ...tcp(port), rules }] }] });
    const matches = (request: Request) => (rule?.l7 ?? []).some((match) => matchesRequest(match, request));
    assert.deepEqual(
      matching.map(matches),
      matching.map(() => true),
    );
    assert.deepEqual(
      others.map(matches),
      others.map(() => false),
    );
  });

const patterns: [pattern: string, matching: string[], others: string[]][] = [
  ['*', ['a', 'a.b.c'], []],
  ['*.cilium.io', ['www.cilium.io'], ['cilium.io', 'a.b.cilium.io']],
  ['*cilium.io', ['cilium.io', 'subcilium.io', 'sub-cilium.io'], ['www.cilium.io', 'cilium.iox']],
  ['sub*.cilium.io', ['sub.cilium.io', 'subdomain.cilium.io'], ['www.cilium.io', 'cilium.io']],
  ['**.cilium.io', ['app.cilium.io', 'test.app.cilium.io'], ['cilium.io']],
  ['a*b*c', ['abc', 'axbxbxc', 'abcbc'], ['ab', 'abcb', 'xabc']],
];

for (const [pattern, matching, others] of patterns)
  test(`${pattern} is ${matching.join(', ')}`, () => {
    const { matches } = namePattern(pattern);
    assert.deepEqual(matching.filter(matches), matching);
    assert.deepEqual(others.filter(matches), []);
  });

test('a pattern of stars and a name without an end take no time', () => {
  const { matches } = namePattern(`${'a*'.repeat(60)}b`);
  assert.equal(matches('a'.repeat(20_000)), false);
});

test('a pattern is what a regular expression of it is', () => {
  const label = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 5 });
  const name = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 5 }), {
    minLength: 1,
    maxLength: 2,
  });
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 2 }), name, (labels, parts) => {
      const pattern = labels.join('.');
      fc.pre(pattern !== '*' && !pattern.startsWith('**.'));
      const source = pattern.replaceAll('.', '[.]').replaceAll('*', '[-a-z0-9_]*');
      assert.equal(
        namePattern(pattern).matches(parts.join('.')),
        new RegExp(`^${source}$`).test(parts.join('.')),
      );
    }),
  );
});

/** What cannot be read, the path that is reported, and where it is: in an allowing or a denying rule. */
const unreadable: [what: string, rule: object, path: string, only?: 'allow'][] = [
  ['an entity that is none', { toEntities: ['moon'] }, 'toEntities[0]'],
  ['what is no range', { toCIDR: ['10.0.0'] }, 'toCIDR[0]'],
  [
    'an exception that is none',
    { toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['x'] }] },
    'toCIDRSet[0].except[0]',
  ],
  ['a range and a group', { toCIDRSet: [{ cidr: '10.0.0.0/8', cidrGroupRef: 'a' }] }, 'toCIDRSet[0]'],
  ['two kinds of peers', { toEntities: ['all'], toCIDR: ['10.0.0.0/8'] }, ''],
  ['groups of a cloud', { toGroups: [{}] }, 'toGroups'],
  ['requirements', { toEndpoints: [{}], toRequires: [{}] }, 'toRequires'],
  [
    'a source that is not known',
    { toEndpoints: [{ matchLabels: { 'x:a': 'b' } }] },
    'toEndpoints[0].matchLabels',
  ],
  [
    'a selector that is none',
    { toEndpoints: [{ matchExpressions: [{ key: 'a', operator: 'Gt' }] }] },
    'toEndpoints[0].matchExpressions[0].operator',
  ],
  ['port 65536', { toPorts: [tcp('65536')] }, 'toPorts[0].ports[0].port'],
  [
    'a protocol that is none',
    { toPorts: [{ ports: [{ port: '1', protocol: 'X' }] }] },
    'toPorts[0].ports[0].protocol',
  ],
  ['a range backwards', { toPorts: [{ ports: [{ port: '9', endPort: 8 }] }] }, 'toPorts[0].ports[0].endPort'],
  ['an ICMP message that is none', { icmps: [{ fields: [{ type: 'X' }] }] }, 'icmps[0].fields[0]'],
  ['ICMP beside ports', { icmps: [{ fields: [] }], toPorts: [tcp('1')] }, 'icmps'],
  ['TLS', { toPorts: [{ ...tcp('1'), originatingTLS: {} }] }, 'toPorts[0].originatingTLS'],
  ['a listener', { toPorts: [{ ...tcp('1'), listener: {} }] }, 'toPorts[0].listener'],
  ['names in handshakes', { toPorts: [{ ...tcp('1'), serverNames: ['a'] }] }, 'toPorts[0].serverNames'],
  [
    'an expression that is none',
    { toPorts: [{ ...tcp('1'), rules: { http: [{ path: '(' }] } }] },
    'toPorts[0].rules.http[0].path',
    'allow',
  ],
  [
    'a header to be added',
    { toPorts: [{ ...tcp('1'), rules: { http: [{ headerMatches: [{ name: 'a', mismatch: 'ADD' }] }] } }] },
    'toPorts[0].rules.http[0].headerMatches[0].mismatch',
    'allow',
  ],
  [
    'requests over UDP',
    { toPorts: [{ ports: [{ port: '1', protocol: 'UDP' }], rules: { http: [{}] } }] },
    'toPorts[0].rules',
    'allow',
  ],
  ['another protocol', { toPorts: [{ ...tcp('1'), rules: { l7proto: 'x' } }] }, 'toPorts[0].rules', 'allow'],
  ['a name that is none', { toFQDNs: [{ matchName: 'a..b' }] }, 'toFQDNs[0]', 'allow'],
  [
    'a mode that is none',
    { toEntities: ['all'], authentication: { mode: 'x' } },
    'authentication.mode',
    'allow',
  ],
];

for (const [what, rule, path, only] of unreadable)
  test(`${what} fails closed, and is reported with its path`, () => {
    const at = (section: string) => [`spec.${section}[0]${path === '' ? '' : `.${path}`}`];
    const allowing = one({ egress: [rule] });
    assert.deepEqual(
      allowing.problems.map((each) => each.path),
      at('egress'),
    );
    assert.deepEqual(
      allowing.rules.map(({ verdict, peers, ports }) => [verdict, peers, ports]),
      [['allow', [], []]],
    );
    assert.equal(allowing.isolates.egress, true);
    if (only === 'allow') return;
    const denying = one({ egressDeny: [rule] });
    assert.deepEqual(
      denying.problems.map((each) => each.path),
      at('egressDeny'),
    );
    assert.deepEqual(
      denying.rules.map(({ verdict, peers, ports }) => [verdict, peers, ports]),
      [['deny', null, null]],
    );
  });

test('a policy whose subject cannot be read, or is nodes, is for nobody', () => {
  for (const [spec, path] of [
    [
      { endpointSelector: { matchLabels: { 'x:a': 'b' } }, ingress: [{}] },
      'spec.endpointSelector.matchLabels',
    ],
    [
      {
        endpointSelector: {
          matchExpressions: [
            { key: 'io.cilium.k8s.policy.serviceaccount', operator: 'NotIn', values: ['a'] },
          ],
        },
        ingress: [{}],
      },
      'spec.endpointSelector',
    ],
    [{ endpointSelector: undefined, ingress: [{}] }, 'spec.endpointSelector'],
    [{ endpointSelector: undefined, nodeSelector: {}, ingress: [{}] }, 'spec.nodeSelector'],
  ] as const) {
    const { problems, rules, concerns } = one(spec);
    assert.deepEqual(
      [problems.map((each) => each.path), rules, concerns],
      [[path], [], { ingress: false, egress: false }],
    );
  }
  assert.deepEqual(
    lowered({}).map(({ problems }) => problems.map(({ path }) => path)),
    [['spec']],
  );
});

test('another namespace in the selector of a policy is told, and its own is meant', () => {
  const { subject, problems } = one({
    endpointSelector: { matchLabels: { 'k8s:io.kubernetes.pod.namespace': 'pay', app: 'web' } },
    ingress: [{}],
  });
  assert.equal(subject.text, 'pods in shop / app=web');
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['spec.endpointSelector.matchLabels'],
  );
});
